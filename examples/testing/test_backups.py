"""What takes hours takes milliseconds."""

from datetime import datetime, timedelta

BACKUP = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: backup}
spec:
  schedule: "0 * * * *"
  successfulJobsHistoryLimit: 2
  jobTemplate:
    spec:
      template:
        spec: {restartPolicy: Never, containers: [{name: backup, image: backup}]}
"""


def test_a_backup_every_hour(k8s, clock):
    k8s.apply(BACKUP)
    clock.advance(hours=1)
    assert len(k8s.batch.list_namespaced_job().items) == 1


def test_only_the_last_two_are_remembered(k8s, clock):
    k8s.apply(BACKUP)
    clock.advance(hours=3)
    jobs = k8s.batch.list_namespaced_job().items
    assert len(jobs) == 2
    assert all(job.status.succeeded == 1 for job in jobs)


def test_a_suspended_one_waits(k8s, clock):
    k8s.apply(BACKUP)
    k8s.batch.patch_namespaced_cron_job("backup", {"spec": {"suspend": True}})
    clock.advance(hours=1)
    assert k8s.batch.list_namespaced_job().items == []


def test_what_was_there_before(k8s, clock):
    k8s.apply(BACKUP)
    before = k8s.revision
    clock.advance(hours=1)
    past = k8s.at(before)
    assert past.batch.list_namespaced_job().items == []
    last = datetime.fromisoformat(k8s.get("cronjob/backup").status.last_schedule_time)
    assert abs(last - clock.now()) < timedelta(hours=1)
    changed = {(d.change, d.resource) for d in k8s.diff(before)}
    assert ("added", "jobs.batch") in changed
