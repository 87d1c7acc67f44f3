# watchdog.sh <folder>: reads the process groups that the server starts. Its input ends when the
# process that wanted the server does, however that went; it then does what stop() would have done.
groups=
while read -r group; do groups="$groups -$group"; done
[ -z "$groups" ] || kill -s TERM -- $groups
sleep 1
[ -z "$groups" ] || kill -s KILL -- $groups
rm -rf "$1"
