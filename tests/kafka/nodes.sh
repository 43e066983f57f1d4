# One Kafka cluster of `count` nodes, each broker and controller in one; sourced by `broker` and `cluster`.
# shellcheck shell=bash
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<END
usage: ${0##*/} [--port PORT,..] [--advertise HOST:PORT,..] [--dir DIR] [--set KEY=VALUE].. [--security KIND] [--acls]
  --port       where clients connect, on 127.0.0.1; one for each node (default: free ones)
  --advertise  what clients are told to connect to instead, for a proxy in between
  --dir        keep the data in DIR, and go on with what is there; otherwise a fresh folder that ends with the script
  --set        one more line of server.properties; wins over the script's own
  --security   plaintext, ssl, mtls, sasl_plain, sasl_scram or sasl_oauth; the last three also as sasl_plain+ssl, ..
  --acls       nobody but admin may do what no ACL allows; needs a security that knows its users
See README.md for what it prints and which commands it takes on standard input.
END
}

security=plaintext acls=no directory='' ports=() advertised=() settings=()
while (($#)); do
    [[ $1 == --acls || $1 == --help || -n ${2:-} ]] || fail "unknown option or no value for it: $1; try --help"
    case $1 in
    --port) IFS=, read -r -a ports <<<"$2" ;;
    --advertise) IFS=, read -r -a advertised <<<"$2" ;;
    --dir) directory=$2 ;;
    --set)
        [[ $2 == ?*=* ]] || fail "--set needs KEY=VALUE, not '$2'"
        settings+=("$2")
        ;;
    --security) security=$2 ;;
    --acls) acls=yes ;;
    --help)
        usage
        exit
        ;;
    *) fail "unknown option $1; try --help" ;;
    esac
    if [[ $1 == --acls ]]; then shift; else shift 2; fi
done
case $security in
plaintext | ssl | mtls | sasl_plain | sasl_scram | sasl_oauth | sasl_plain+ssl | sasl_scram+ssl | sasl_oauth+ssl) ;;
*) fail "unknown security '$security'; try --help" ;;
esac
[[ $acls == no || $security == mtls || $security == sasl_* ]] || fail '--acls needs mtls or one of sasl_*'
needs "$kafka_home" broker

make_folder "$directory"
nodes=()
for ((id = 1; id <= count; id++)); do
    nodes+=("$id")
    parts+=("node$id")
done

# The ports of a broker whose folder is kept stay its own.
[[ -f $folder/ports ]] && mapfile -t saved_ports <"$folder/ports"
declare -A client_port=() internal_port=() controller_port=()
for id in "${nodes[@]}"; do
    read -r client internal controller <<<"${saved_ports[id - 1]:-}" || true
    client_port[$id]=${ports[id - 1]:-${client:-$(free_port)}}
    internal_port[$id]=${internal:-$(free_port)}
    controller_port[$id]=${controller:-$(free_port)}
    echo "${client_port[$id]} ${internal_port[$id]} ${controller_port[$id]}"
done >"$folder/ports.new"
mv "$folder/ports.new" "$folder/ports"

joined() { # WORD...: with commas
    local IFS=,
    echo "$*"
}

address() {
    local id addresses=()
    for id in "${nodes[@]}"; do addresses+=("${advertised[id - 1]:-127.0.0.1:${client_port[$id]}}"); done
    joined "${addresses[@]}"
}

# Everyone's certificate: the brokers' for 127.0.0.1, alice's for mtls, and an authority that signed neither.
certificates() {
    local name
    (
        cd "$folder"
        for name in ca other-ca; do
            openssl req -x509 -newkey rsa:2048 -nodes -keyout $name.key -out $name.pem -days 30 -subj "/CN=test $name" \
                -addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign
        done
        sign() { # FILE NAME
            openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -subj "/CN=$2" -out "$1.csr"
            openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out "$1.pem" \
                -extfile <(echo 'subjectAltName=IP:127.0.0.1,DNS:localhost')
        }
        sign server broker
        sign client alice
        # Kafka wants key and certificate in one file.
        cat server.key server.pem >server.both.pem
        cat client.key client.pem >client.both.pem
    ) >/dev/null 2>"$folder/openssl.log" || fail "no certificates: $(cat "$folder/openssl.log")"
}

mechanism() {
    case $security in
    sasl_plain*) echo PLAIN ;;
    sasl_scram*) echo SCRAM-SHA-256 ;;
    sasl_oauth*) echo OAUTHBEARER ;;
    esac
}

protocol() {
    case $security in
    plaintext) echo PLAINTEXT ;;
    ssl | mtls) echo SSL ;;
    *+ssl) echo SASL_SSL ;;
    *) echo SASL_PLAINTEXT ;;
    esac
}

# The client listener's part of server.properties.
security_properties() {
    local modules=org.apache.kafka.common.security
    [[ $(protocol) != *SSL ]] || cat <<END
listener.name.client.ssl.keystore.type=PEM
listener.name.client.ssl.keystore.location=$folder/server.both.pem
listener.name.client.ssl.truststore.type=PEM
listener.name.client.ssl.truststore.location=$folder/ca.pem
END
    case $security in
    mtls)
        # User:alice rather than User:CN=alice, so that ACLs read the same under every security.
        cat <<'END'
listener.name.client.ssl.client.auth=required
listener.name.client.ssl.principal.mapping.rules=RULE:^CN=([^,]+).*$/$1/
END
        ;;
    sasl_plain*)
        cat <<END
listener.name.client.sasl.enabled.mechanisms=PLAIN
listener.name.client.plain.sasl.jaas.config=$modules.plain.PlainLoginModule required user_admin="admin-secret" user_alice="alice-secret" user_bob="bob-secret";
END
        ;;
    sasl_scram*)
        cat <<END
listener.name.client.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512
listener.name.client.scram-sha-256.sasl.jaas.config=$modules.scram.ScramLoginModule required;
listener.name.client.scram-sha-512.sasl.jaas.config=$modules.scram.ScramLoginModule required;
END
        ;;
    sasl_oauth*)
        # Takes tokens that nobody has signed: their `sub` is the user.
        cat <<END
listener.name.client.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.client.oauthbearer.sasl.jaas.config=$modules.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="admin";
listener.name.client.oauthbearer.sasl.server.callback.handler.class=$modules.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler
END
        ;;
    esac
    [[ $acls == no ]] || cat <<'END'
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:ANONYMOUS
END
}

# What Kafka's own tools need as alice (admin.properties: as admin).
client_properties() { # USER
    local modules=org.apache.kafka.common.security
    echo "security.protocol=$(protocol)"
    [[ $(protocol) != *SSL ]] || printf '%s\n' ssl.truststore.type=PEM "ssl.truststore.location=$folder/ca.pem"
    [[ $security != mtls ]] || printf '%s\n' ssl.keystore.type=PEM "ssl.keystore.location=$folder/client.both.pem"
    case $security in
    sasl_plain*) echo "sasl.jaas.config=$modules.plain.PlainLoginModule required username=\"$1\" password=\"$1-secret\";" ;;
    sasl_scram*) echo "sasl.jaas.config=$modules.scram.ScramLoginModule required username=\"$1\" password=\"$1-secret\";" ;;
    sasl_oauth*) echo "sasl.jaas.config=$modules.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"$1\";" ;;
    esac
    [[ $security != sasl_* ]] || echo "sasl.mechanism=$(mechanism)"
}

# Brokers talk among themselves on INTERNAL, without security: also one node does, when it ends a transaction, and a
# proxy between it and its clients must not be in the way of that. Tests may use INTERNAL to administer.
properties() { # ID
    local id voters=() majority=$((count / 2 + 1))
    for id in "${nodes[@]}"; do voters+=("$id@127.0.0.1:${controller_port[$id]}"); done
    id=$1
    cat <<END
process.roles=broker,controller
node.id=$id
controller.quorum.voters=$(joined "${voters[@]}")
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listeners=CLIENT://127.0.0.1:${client_port[$id]},INTERNAL://127.0.0.1:${internal_port[$id]},CONTROLLER://127.0.0.1:${controller_port[$id]}
advertised.listeners=CLIENT://${advertised[id - 1]:-127.0.0.1:${client_port[$id]}},INTERNAL://127.0.0.1:${internal_port[$id]}
listener.security.protocol.map=CLIENT:$(protocol),INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$folder/node$id
default.replication.factor=$count
min.insync.replicas=$majority
offsets.topic.replication.factor=$count
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$count
transaction.state.log.min.isr=$majority
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=$count
share.coordinator.state.topic.min.isr=$majority
share.coordinator.state.topic.num.partitions=4
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
END
    security_properties
    ((${#settings[@]} == 0)) || printf '%s\n' "${settings[@]}"
}

# A folder has one identity for life; which, says nothing.
cluster_id=bGlnaHRjbC10ZXN0LWJlbg
format() { # ID
    local user algorithm users=()
    [[ -f $folder/node$1/meta.properties ]] && return
    if [[ $security == sasl_scram* ]]; then
        for user in admin alice bob; do
            for algorithm in SCRAM-SHA-256 SCRAM-SHA-512; do
                users+=(--add-scram "$algorithm=[name=$user,password=$user-secret]")
            done
        done
    fi
    "${kafka_java[@]}" kafka.tools.StorageTool format -t "$cluster_id" -c "$folder/node$1.properties" "${users[@]}" \
        >"$folder/format$1.log" 2>&1
}

launch() { # NAME
    background "$1" "${kafka_java[@]:0:1}" "-Xmx$heap" "${kafka_java[@]:1}" kafka.Kafka "$folder/$1.properties"
}

answers() { # NAME
    grep -q 'Kafka Server started' "$folder/$1.log"
}

if [[ $(protocol) == *SSL && ! -f $folder/client.both.pem ]]; then certificates; fi
client_properties alice >"$folder/client.properties"
client_properties admin >"$folder/admin.properties"
formatting=()
for id in "${nodes[@]}"; do
    properties "$id" >"$folder/node$id.properties"
    format "$id" &
    formatting+=("$!")
done
for id in "${nodes[@]}"; do
    wait "${formatting[id - 1]}" || fail "cannot format: $(cat "$folder/format$id.log")"
done

printf 'dir %s\nadmin 127.0.0.1:%s\n' "$folder" "$(joined "${internal_port[@]}" | sed 's/,/,127.0.0.1:/g')"
serve
