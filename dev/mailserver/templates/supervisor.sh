# supervisor.sh <folder>: runs the programs that it reads, each a line, until its input ends. That
# happens when the process that wanted them stops, and also when it is killed.
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
programs= groups=
while read -r program; do
    setsid $program </dev/null >>"$1/log" 2>&1 &
    programs="$programs $!" groups="$groups -$!"
done
if [ -n "$programs" ]; then
    kill -s TERM $programs
    { sleep 5; kill -s KILL $programs; } &
    wait $programs
    kill $!
    kill -s KILL -- $groups
fi
rm -rf "$1"
