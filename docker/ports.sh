# shellcheck shell=bash
# Sourced by run.sh: the ports that a container publishes.

# published_ports ADDRESS: print HOST:CONTAINER for each port of PORTS, where a number is a port of the host. A server's
# own number is for that server, and the others are for the servers that are left, in their order. A number that is in
# use stands for the next free one.
published_ports() {
  local number='^([0-9]{1,5}:)?[0-9]{1,5}$' # Bash 3.2 takes this expression from a variable alone
  local ports port host container left=" $SERVER_PORTS " used=" " moved=""
  ports=$(setting PORTS "$SERVER_PORTS")
  for port in $ports; do
    [[ $port =~ $number ]] ||
      die "PORTS=\"$ports\": must be port numbers or HOST:CONTAINER, separated by spaces"
    left=${left/ ${port#*:} / }
  done
  for port in $ports; do
    host=${port%:*} container=${port#*:}
    if [[ $port != *:* && " $SERVER_PORTS " != *" $port "* && $left =~ [0-9]+ ]]; then
      container=${BASH_REMATCH[0]} left=${left/ $container / }
    fi
    while [[ $used == *" $host "* ]] || in_use "$1" "$host"; do
      [[ $port != *:* ]] || die "port $host of $1 is in use: choose another in PORTS=\"$ports\", or $container alone"
      host=$((host + 1))
    done
    used+="$host "
    [[ $port == *:* || $port == "$host" ]] || moved+=", $port as $host"
    echo "$host:$container"
  done
  [[ -z $moved ]] || echo "docker/${0##*/}: ports in use are replaced by the next free ones: ${moved#, }" >&2
}

# in_use ADDRESS PORT: succeed if something answers that is not the container itself, whose ports are own_ports. A server
# on all addresses answers on each; the engine itself reports a port that this test misses. An address of another
# machine is not asked, as that may wait for minutes.
in_use() {
  case $1 in
    0.0.0.0 | 127.*) ;;
    *) [[ " $(hostname -I 2>/dev/null) " == *" $1 "* ]] || return ;;
  esac
  ! grep -qx "$2" <<<"${own_ports-}" && (: <"/dev/tcp/${1/#0.0.0.0/127.0.0.1}/$2") 2>/dev/null
}
