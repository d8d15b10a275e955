#!/bin/sh
# Take an order: a line in the volume.  Answer its number.
date -u '+order of %Y-%m-%d %H:%M:%S' >>/data/orders
printf 'Content-Type: text/plain\r\n\r\n%s' "$(wc -l </data/orders)"
