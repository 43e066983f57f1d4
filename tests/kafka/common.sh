# What the scripts of this folder share; sourced, not run.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${LIGHTCL_KAFKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lightcl/kafka}

# Everything is pinned. A version is part of its folder's name, so that a new one is fetched, not mistaken for the old.
kafka_version=4.4.0
log4j_version=2.25.5
apicurio_version=2.6.13.Final
toxiproxy_version=v2.5.0
kafka_home=$cache/kafka-$kafka_version
apicurio_home=$cache/apicurio-$apicurio_version
toxiproxy=$cache/toxiproxy-$toxiproxy_version/toxiproxy-server

# Short runs of small programs: compile fast rather than well, one collector thread, no files for monitors.
java=(java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData)
kafka_java=("${java[@]}" "-Dlog4j2.configurationFile=$here/log4j2.properties" -cp "$kafka_home/*")

fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit 1
}

needs() { # PATH PART: PART of `fetch` brings PATH
    [[ -e $1 ]] || fail "$1 is missing: run tests/kafka/fetch $2"
}

listening() { # PORT
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Below the range from which systems take ports for outgoing connections, so that none of those is in the way.
free_port() {
    local port
    while true; do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        listening "$port" || break
    done
    echo "$port"
}

http_answers() { # PORT PATH: does a GET bring status 200?
    local status
    exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
    printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$2" >&3
    read -r -t 5 _ status _ <&3
    exec 3>&-
    [[ $status == 200 ]]
}

# ---- Parts: processes that a script starts, obeys commands about, and ends with itself --------------------------------
#
# A script names its parts in `parts`, defines `launch NAME` (runs `background NAME COMMAND...`), `answers NAME` (is it
# ready?) and `address` (what goes on the line `ready`), makes its folder with `make_folder`, and calls `serve`.

parts=()
declare -A pids=()
folder='' keep_folder=no
grace=10

make_folder() { # [DIR]: a fresh folder that ends with the script, or DIR, which stays
    trap finish EXIT
    trap 'exit 143' TERM
    trap 'exit 130' INT
    trap 'exit 129' HUP
    trap 'exit 141' PIPE
    if [[ -n ${1:-} ]]; then
        mkdir -p "$1"
        folder=$(cd "$1" && pwd) keep_folder=yes
    else
        folder=$(mktemp -d "${TMPDIR:-/tmp}/lightcl-${0##*/}.XXXXXX")
    fi
}

# Where the system can, a part is killed with this shell: not even `kill -9` of the script leaves one behind.
tether=()
if command -v setpriv >/dev/null && setpriv --pdeathsig KILL true 2>/dev/null; then tether=(setpriv --pdeathsig KILL --); fi

# The part must not hold this script's input or output: whoever started the script waits for their end. What it puts
# into temporary files goes with the folder, also when it is killed.
background() { # NAME COMMAND...
    local name=$1
    shift
    mkdir -p "$folder/tmp"
    JDK_JAVA_OPTIONS="-Djava.io.tmpdir=$folder/tmp" "${tether[@]}" "$@" </dev/null >"$folder/$name.log" 2>&1 &
    pids[$name]=$!
}

alive() { # NAME
    [[ -n ${pids[$1]:-} ]] && kill -0 "${pids[$1]}" 2>/dev/null
}

await() { # NAME: until it answers
    local deadline=$((SECONDS + 90))
    until answers "$1" 2>/dev/null; do
        if ! alive "$1" || ((SECONDS > deadline)); then
            tail -n 30 "$folder/$1.log" >&2
            fail "$1 does not answer"
        fi
        sleep 0.1
    done
}

end() { # NAME...: asks all of them to end, and after a grace time makes them
    local name deadline=$((SECONDS + grace))
    for name in "$@"; do
        # One that is paused hears the request only when it goes on.
        if alive "$name"; then kill -TERM "${pids[$name]}" && kill -CONT "${pids[$name]}" || true; fi 2>/dev/null
    done
    for name in "$@"; do
        while alive "$name" && ((SECONDS < deadline)); do sleep 0.05; done
        slay "$name"
    done
}

slay() { # NAME
    if [[ -n ${pids[$1]:-} ]]; then
        kill -KILL "${pids[$1]}" 2>/dev/null || true
        wait "${pids[$1]}" 2>/dev/null || true
        unset "pids[$1]"
    fi
}

finish() {
    local status=$?
    # Whatever fails on the way, the rest must be done.
    set +e
    trap '' TERM INT HUP PIPE
    trap - EXIT
    # What is in a folder that goes away need not be put in order first.
    [[ $keep_folder == yes ]] || grace=1
    end "${parts[@]}"
    [[ $keep_folder == yes || -z $folder ]] || rm -rf "$folder"
    exit "$status"
}

announce() {
    local name line=pids
    for name in "${parts[@]}"; do line+=" ${pids[$name]:--}"; done
    printf '%s\nready %s\n' "$line" "$(address)"
}

obey() { # COMMAND [NAME]: without NAME, all parts
    local name names=("${parts[@]}")
    [[ -z ${2:-} ]] || names=("$2")
    for name in "${names[@]}"; do
        [[ " ${parts[*]} " == *" $name "* ]] || fail "there is no part '$name', only: ${parts[*]}"
    done
    case $1 in
    start)
        for name in "${names[@]}"; do alive "$name" || launch "$name"; done
        for name in "${names[@]}"; do await "$name"; done
        announce
        ;;
    stop)
        end "${names[@]}"
        echo stopped
        ;;
    kill)
        for name in "${names[@]}"; do slay "$name"; done
        echo killed
        ;;
    pause)
        for name in "${names[@]}"; do kill -STOP "${pids[$name]:?does not run}"; done
        echo paused
        ;;
    resume)
        for name in "${names[@]}"; do kill -CONT "${pids[$name]:?does not run}"; done
        echo resumed
        ;;
    *) fail "no such command: $1 (start, stop, kill, pause, resume)" ;;
    esac
}

# Starts all parts, then obeys the lines of standard input until its end.
serve() {
    local command name
    obey start
    while true; do
        if read -r -t 1 command name; then
            [[ -z $command ]] || obey "$command" "$name"
        elif (($? <= 128)); then # above: nothing came within the second
            return 0
        fi
        for name in "${!pids[@]}"; do
            alive "$name" && continue
            slay "$name"
            ((${#parts[@]} > 1)) || fail "the $name has ended by itself"
            echo "ended $name"
        done
    done
}
