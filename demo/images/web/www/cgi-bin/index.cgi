#!/bin/sh
# The page: what the api says, asked by the name of its service.
echo "page for $HTTP_HOST" >&2
if said=$(wget -q -O - http://api/); then
  printf 'Content-Type: text/html\r\n\r\n'
  printf '<h1>Shop</h1>\n<p>%s</p>\n<p>page by %s</p>\n' "$said" "$(hostname)"
else
  printf 'Status: 502 Bad Gateway\r\nContent-Type: text/plain\r\n\r\nthe api does not answer\n'
fi
