# What scripts/bench-proxy measures with. It sets process (name -> id), port (name -> port), home and seconds.
# shellcheck shell=bash disable=SC2154
cpu_ns() { # of a process, its threads and its children
  local pid
  for pid in "$1" $(pgrep -P "$1"); do cat /proc/"$pid"/task/*/schedstat; done | awk '{sum += $1} END {printf "%.0f", sum}'
}
run() { # run NAME RESULT CPU CONNECTIONS: appends `requests/s us/request p99` to the results
  local url="http://127.0.0.1:${port[$1]}/" before after out
  taskset -c "$3" wrk -t1 -c"$4" -d1 -H "x-api-key: sk-bench-0001" "$url" >/dev/null
  before=$(cpu_ns "${process[$1]}")
  out=$(taskset -c "$3" wrk -t1 -c"$4" -d"$seconds" --latency -H "x-api-key: sk-bench-0001" "$url")
  after=$(cpu_ns "${process[$1]}")
  if grep -q 'Non-2xx' <<<"$out"; then echo "$1 answers wrongly: $out" >&2; exit 1; fi
  awk -v cpu=$((after - before)) '/requests in/ {n = $1} /Requests\/sec/ {r = $2}
    /^ *99%/ {p = $2 ~ /us/ ? $2 + 0 : $2 ~ /ms/ ? $2 * 1000 : $2 * 1e6}
    END {printf "%.0f %.3f %.0f\n", r, cpu / n / 1000, p}' <<<"$out" >>"$home/$2.result"
}
median() { sort -n -k"$2" "$home/$1.result" | awk -v k="$2" '{a[NR] = $k} END {print a[int((NR + 1) / 2)]}'; }
ratio() { awk -v a="$(median "$1" "$2")" -v b="$(median nginx "$2")" 'BEGIN {printf "%.2f", a / b}'; }
