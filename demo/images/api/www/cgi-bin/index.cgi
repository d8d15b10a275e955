#!/bin/sh
# The greeting of the ConfigMap, and the number of an order that another service takes.
if number=$(wget -q -O - http://orders/); then
  printf 'Content-Type: text/plain\r\n\r\n'
  printf '%s: order %s, paid in %s, taken by %s\n' "$greeting" "$number" "$currency" "$(hostname)"
else
  printf 'Status: 502 Bad Gateway\r\nContent-Type: text/plain\r\n\r\nno order could be taken\n'
fi
