"""The inner loop: edit, build, push, roll, log, sync."""
