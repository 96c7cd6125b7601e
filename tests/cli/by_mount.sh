# mount(8), mount -a and umount(8) with the helper links, in a mount name space that ends with this script.
# Usage: by_mount.sh PROGRAM SERVER FOLDER, SERVER being HOST:PORT; prints each step before it is tried.
set -eu
program=$1 server=$2 folder=$3
sbin=$(readlink -f /sbin)
fuse=$(readlink -f /sbin/mount.fuse3)
log=$folder/said
other=

# A step that fails leaves no mount behind, whose process would hold the name space.
end() {
  for name in a b c d e u; do
    ! line "$folder/$name" >"$log" || umount -l "$folder/$name"
  done
  [ -z "$other" ] || nsenter --mount -t $other umount -l "$folder/a" || true
  [ -z "$other" ] || kill $other
}
trap end EXIT
trap 'exit 1' TERM

step() { echo "$*"; }
# Usage: fails STATUS COMMAND...
fails() {
  wanted=$1 status=0
  shift
  "$@" >"$log" 2>&1 || status=$?
  [ "$status" = "$wanted" ] || { echo "$*: exit status $status, not $wanted"; cat "$log"; exit 1; }
}
told() { grep -q -e "$1" "$log" || { echo "no '$1' in:"; cat "$log"; exit 1; }; }
line() { grep " $1 " /proc/self/mounts; }
shows() { [ "$(cat "$1/hello.txt")" = "hello from the server" ]; }
absent() { ! line "$1" || { echo "$1 is mounted"; exit 1; }; }

mkdir "$folder/sbin" "$folder/a" "$folder/b" "$folder/c" "$folder/d" "$folder/e"
for name in mount.ftpfs mount.fuse.ftpfs; do ln -s "$program" "$folder/sbin/$name"; done
cp "$fuse" "$folder/sbin/mount.fuse"
mount --bind "$folder/sbin" "$sbin"
export HOME="$folder"
printf 's3cret\n' >"$folder/pass"
chmod 600 "$folder/pass"

for type in ftpfs fuse.ftpfs; do
  step "mount -t $type"
  mount -t $type -o "noexec,passfile=$folder/pass" "ftp://u@$server/sub" "$folder/a"
  line "$folder/a" | grep -q "^ftp://u@$server/sub $folder/a fuse.ftpfs .*noexec"
  shows "$folder/a"
  fails 2 mount -t $type -o "passfile=$folder/pass" "ftp://u@$server/sub" "$folder/a"
  told "^mount.$type: .* is mounted here already"
  umount "$folder/a"
  absent "$folder/a"
done

step "a password in the address is seen nowhere"
mount -t ftpfs "ftp://u:s3cret@$server/sub" "$folder/a"
shows "$folder/a"
grep -q -a "mount.ftpfs.*ftp://u:\*\*\*\*\*\*@$server" /proc/[0-9]*/cmdline
! grep -l -s -a "s3cre[t]@$server" /proc/[0-9]*/cmdline /proc/self/mounts || exit 1
umount "$folder/a"

step "exit bits"
fails 32 mount -t ftpfs ftp://127.0.0.1:1/ "$folder/a"
told "^mount.ftpfs: .*127.0.0.1:1"
fails 32 mount -t ftpfs "ftp://u:wrong@$server/" "$folder/a"
fails 1 mount -t ftpfs -o cache_timout=3 "ftp://u@$server/" "$folder/a"
told "did you mean cache_timeout?"
fails 1 mount.ftpfs "ftp://u@$server/"
told "mount.ftpfs SOURCE DIR"

step "mount -f, mount -s"
mount -f -t ftpfs "ftp://u@$server/" "$folder/a"
absent "$folder/a"
mount -s -t ftpfs -o "cache_timout=3,passfile=$folder/pass" "ftp://u@$server/" "$folder/a"
shows "$folder/a"
umount "$folder/a"

step "mount -a"
cat >"$folder/fstab" <<END
# the words that people put there
ftp://u@$server/sub  $folder/b  ftpfs  defaults,nofail,_netdev,user,exec,x-systemd.automount,x-systemd.idle-timeout=10min,comment=web,passfile=$folder/pass,umask=027  0 0
curlftpfs#ftp://u@$server/  $folder/c  fuse.ftpfs  rw,auto,nouser,suid,dev,async,relatime,group,passfile=$folder/pass,cache_stat_timeout=30,tcp_nodelay  0 0
ftp://u@$server/  $folder/d  ftpfs  noauto,users,nofail,passfile=$folder/pass  0 0
ftp://$server/  $folder/e  ftpfs  user=u,nofail,passfile=$folder/pass  0 0
END
mount -a -T "$folder/fstab"
shows "$folder/b"
shows "$folder/c"
shows "$folder/e"
absent "$folder/d"
line "$folder/b" | grep -q nosuid,nodev
line "$folder/b" | grep -v -q noexec
[ "$(stat -c %a "$folder/b/hello.txt")" = 640 ]

step "mount -a again mounts nothing twice"
mount -a -T "$folder/fstab"
[ "$(line "$folder/b" | wc -l)" = 1 ]
[ "$(line "$folder/c" | wc -l)" = 1 ]

step "one line of fstab"
mount -T "$folder/fstab" "$folder/d"
shows "$folder/d"

step "/dev/fd/N by mount.fuse3 with drop_privileges, as one that may do nothing"
ln -s "$program" "$folder/sbin/ftpfs"
# The program that tells the password is not handed the mount.
printf '#!/bin/sh\nls -l /proc/self/fd | grep -q /dev/fuse && exit 1\ncat "%s/pass"\n' "$folder" >"$folder/tell"
chmod 755 "$folder/tell"
PATH=$folder/sbin:$PATH mount -t fuse -o "drop_privileges,default_permissions,passcommand=$folder/tell" "ftpfs#ftp://u@$server/sub" "$folder/a"
shows "$folder/a"
grep -q -a "/dev/fd/[0-9]" /proc/[0-9]*/cmdline
umount "$folder/a"
absent "$folder/a"

step "mount -N"
unshare --mount sleep 100 &
other=$!
while [ "$(readlink /proc/$other/ns/mnt)" = "$(readlink /proc/$$/ns/mnt)" ]; do sleep 0.05; done
mount -N $other -t ftpfs -o "passfile=$folder/pass" "ftp://u@$server/sub" "$folder/a"
absent "$folder/a"
nsenter --mount -t $other cat "$folder/a/hello.txt" | grep -q "hello from the server"
nsenter --mount -t $other umount "$folder/a"
kill $other
other=

step "a user mounts a line of fstab, and unmounts it"
mkdir "$folder/u"
install -o 65534 -m 600 "$folder/pass" "$folder/nobody.pass"
chown 65534 "$folder/u"
chmod 755 "$folder" "$folder/sbin"
# The program may lie where this user cannot come.
rm "$folder/sbin/mount.ftpfs"
cp "$program" "$folder/sbin/mount.ftpfs"
echo "ftp://u@$server/sub  $folder/u  ftpfs  noauto,user,passfile=$folder/nobody.pass  0 0" >"$folder/fstab"
mount --bind "$folder/fstab" /etc/fstab
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
as_nobody mount "$folder/u"
line "$folder/u" | grep -q "user_id=65534"
as_nobody cat "$folder/u/hello.txt" | grep -q "hello from the server"
as_nobody umount "$folder/u"
absent "$folder/u"
umount /etc/fstab

step "umount"
for name in b c d e; do
  umount "$folder/$name"
  absent "$folder/$name"
done
umount "$sbin"
step done
