# Sourced: starts a Tollgate at $port and the three ports after it, with the configuration on standard input. $home is
# a folder that goes with the script, $gateway its process. TOLLGATE names the binary.
tollgate=$(realpath "${TOLLGATE:-target/release/tollgate}") home=$(mktemp -d) && export HOME=$home
gateway="" others=()
trap 'kill "$gateway" "${others[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$home"' EXIT
export TOLLGATE_ADMIN_TOKEN=tga_conformance

start() {
  "$tollgate" up --data "$home/data" --access-log off --listen "127.0.0.1:$port" --admin "127.0.0.1:$((port + 1))" \
    --grpc "127.0.0.1:$((port + 2))" --status "127.0.0.1:$((port + 3))" >"$home/gateway.log" 2>&1 & gateway=$!
  until curl -fso /dev/null "http://127.0.0.1:$((port + 3))/ready"; do
    kill -0 "$gateway" 2>/dev/null || { cat "$home/gateway.log"; exit 1; }
    sleep 0.1
  done
  "$tollgate" apply -f - --wait --server "http://127.0.0.1:$((port + 1))" --token "$TOLLGATE_ADMIN_TOKEN" >/dev/null
}
