# shellcheck shell=bash
# Sourced by docker/run.sh --compose: prints its container as a Compose file, for the dev container.

# json TEXT: print it as a string of JSON, in which Compose replaces no variables
json() {
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  printf '"%s"' "${text//\$/\$\$}"
}

# add KEY VALUE: append VALUE, which is JSON, to the list KEY of the service
add() {
  local values=$1_values
  printf -v "$values" '%s' "${!values:+${!values}, }$2"
}

# gpus VALUE: print what --gpus VALUE asks for
gpus() {
  local devices=${1//\"/}
  case $devices in
    device=*) devices=${devices#device=} && devices="\"device_ids\": [\"${devices//,/\", \"}\"]" ;;
    *) devices="\"count\": $(json "$devices")" ;;
  esac
  echo "{\"resources\": {\"reservations\": {\"devices\": [{\"driver\": \"nvidia\", \"capabilities\": [\"gpu\"], $devices}]}}}"
}

# compose OPTION ... IMAGE: print what these options of docker run start
compose() {
  local line source name="" more=""
  local environment_values="" extra_hosts_values="" labels_values="" ports_values="" volumes_values=""
  while (($# > 1)); do
    case $1 in
      --name) name=$2 ;;
      --env) add environment "$(json "$2")" ;;
      --env-file) while IFS= read -r line; do add environment "$(json "$line")"; done <"$2" ;;
      --add-host) add extra_hosts "$(json "$2")" ;;
      --label) add labels "$(json "$2")" ;;
      --publish) add ports "$(json "$2")" ;;
      --hostname) more+=", \"hostname\": $(json "$2")" ;;
      --gpus) more+=", \"deploy\": $(gpus "$2")" ;;
      --mount) # type=bind,"source=SOURCE",target=TARGET, which is CSV
        source=${2#*\"source=} source=${source%\",target=*}
        add volumes "{\"type\": \"bind\", \"source\": $(json "${source//\"\"/\"}"), \"target\": $(json "${2##*,target=}")}"
        ;;
      --rm | --init | --ipc=host) shift && continue ;;
    esac
    shift 2
  done
  cat <<END
{
  "name": $(json "$(tr '[:upper:].' '[:lower:]-' <<<"$name")"),
  "services": {"patch_sets": {
    "image": $(json "$1"), "container_name": $(json "$name"), "init": true, "ipc": "host",
    "network_mode": "bridge", "stdin_open": true, "tty": true,
    "environment": [$environment_values],
    "extra_hosts": [$extra_hosts_values],
    "labels": [$labels_values],
    "ports": [$ports_values],
    "volumes": [$volumes_values]$more
  }}
}
END
}
