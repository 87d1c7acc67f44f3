# folders.sh <folder>: makes the folders as their programs want them; those of the queue as
# post-install(1) does.
set -e
cd "$1"
chmod 755 .
mkdir dovecot postfix queue
install -o root -g dovecot -m 640 /dev/null dovecot/users
install -d -o mail -g mail -m 700 mailboxes
install -d -o postfix -g postfix -m 700 postfix-data
cd queue
install -d -o postfix -g root -m 700 active bounce corrupt defer deferred flush hold incoming \
    private saved trace
install -d -o postfix -g postdrop -m 1730 maildrop
install -d -o postfix -g postdrop -m 2710 public
install -d -o root -g root -m 755 pid
