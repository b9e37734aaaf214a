#!/usr/bin/env bash
# Measures the same payment in PostgreSQL: postgresql.sh [SECONDS] [CALLERS...]. Starts a primary and two standbys on loopback
# in a temporary folder, of which one must have a payment on its disk before it is acknowledged, like a majority of three nodes.
# Prints a line for each number of callers, and leaves nothing behind but the package.
#
# A payment is one call of a stored function over the native protocol, prepared once: a row under a unique key and two balances.
# Payer and receiver are drawn from a thousand accounts, in the favour of row locks: `quorapay bench` always has one payer.
#
# PORT=... is the primary's; the standbys have the next two. The folder is made in TMPDIR, or in /var/tmp.
set -euo pipefail
export LC_ALL=C

seconds=${1:-10}
[ $# -eq 0 ] || shift
callers=("$@")
[ "${#callers[@]}" -gt 0 ] || callers=(1 64 256)
port=${PORT:-17490}
warm_up=2
accounts=1000

fail() {
    echo "postgresql: $*" >&2
    exit 1
}

programs() {
    ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1
}

if [ -z "$(programs)" ] || [ ! -x "$(programs)/postgres" ]; then
    command -v apt-get >/dev/null || fail "install PostgreSQL with your system's packages"
    as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    # Without a cluster of the distribution's own.
    "${as_root[@]}" mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
        echo "create_main_cluster = false" | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends postgresql >&2
fi
bin=$(programs)

# PostgreSQL refuses to run as root.
as_server=()
if [ "$(id -u)" -eq 0 ]; then
    id postgres >/dev/null 2>&1 || fail "there is no user postgres to run the servers"
    as_server=(runuser -u postgres --)
fi
run() { "${as_server[@]}" "$@"; }

for offset in 0 1 2; do
    if (exec 3<>"/dev/tcp/127.0.0.1/$((port + offset))") 2>/dev/null; then
        fail "port $((port + offset)) is in use; choose others with PORT=..."
    fi
done

folder=$(mktemp -d -p "${TMPDIR:-/var/tmp}" quorapay-postgresql.XXXXXX)
end() {
    for server in s2 s1 primary; do
        [ ! -e "$folder/$server/postmaster.pid" ] || run "$bin/pg_ctl" -D "$folder/$server" -m immediate stop >/dev/null || true
    done
    rm -rf "$folder"
}
trap end EXIT
trap 'exit 130' INT TERM
case "$(stat -f -c %T "$folder")" in
tmpfs | ramfs) fail "$folder is in memory, where a sync costs nothing; name a folder on a disk with TMPDIR=..." ;;
esac
[ "$(id -u)" -ne 0 ] || chown postgres "$folder"
cd "$folder"

settings() { # server, port
    run tee -a "$folder/$1/postgresql.conf" >/dev/null <<CONFIGURATION
listen_addresses = '127.0.0.1'
port = $2
unix_socket_directories = '$folder'
max_connections = 400
shared_buffers = '256MB'
max_wal_size = '4GB'
fsync = on
synchronous_commit = on
full_page_writes = on
hot_standby = on
CONFIGURATION
}

start() {
    run "$bin/pg_ctl" -D "$folder/$1" -l "$folder/$1.log" -w -t 60 start >/dev/null || {
        tail -n 20 "$folder/$1.log" >&2
        fail "$1 does not start"
    }
}

sql() { run "$bin/psql" -X -q -v ON_ERROR_STOP=1 -At -h "$folder" -p "$port" -d postgres "$@"; }

run "$bin/initdb" -D "$folder/primary" --auth=trust --no-sync >/dev/null
settings primary "$port"
start primary
for number in 1 2; do
    run "$bin/pg_basebackup" -h "$folder" -p "$port" -D "$folder/s$number" -R --checkpoint=fast >/dev/null
    settings "s$number" $((port + number))
    run tee -a "$folder/s$number/postgresql.conf" >/dev/null <<<"cluster_name = 's$number'"
    start "s$number"
done
run tee -a "$folder/primary/postgresql.conf" >/dev/null <<<"synchronous_standby_names = 'ANY 1 (s1,s2)'"
sql -c "select pg_reload_conf()" >/dev/null

# Both standbys count before anything is measured.
deadline=$((SECONDS + 30))
until [ "$(sql -c "select count(*) from pg_stat_replication where sync_state = 'quorum' and state = 'streaming'")" = 2 ]; do
    [ "$SECONDS" -lt "$deadline" ] || fail "the standbys do not follow the primary"
    sleep 0.1
done

sql >/dev/null <<SQL
create table account (id int primary key, balance bigint not null) with (fillfactor = 50);
insert into account select id, 0 from generate_series(1, $accounts) id;
create table payment (
    id bigint generated always as identity primary key,
    key text not null unique,
    payer int not null,
    receiver int not null,
    amount bigint not null,
    currency text not null,
    created_at timestamptz not null default now()
);
create function pay(wanted_key text, payer int, receiver int, amount bigint) returns bigint language plpgsql as \$\$
declare
    made bigint;
    first int := least(payer, receiver);
begin
    insert into payment (key, payer, receiver, amount, currency)
        values (wanted_key, payer, receiver, amount, 'USD') on conflict (key) do nothing returning id into made;
    if made is null then
        return (select id from payment where key = wanted_key);
    end if;
    -- In the order of the accounts, so that no two payments wait for each other.
    update account set balance = balance + case when id = payer then -amount else amount end where id = first;
    update account set balance = balance + case when id = payer then -amount else amount end
        where id = greatest(payer, receiver);
    return made;
end
\$\$;
vacuum analyze account;
SQL
run tee "$folder/pay.sql" >/dev/null <<PGBENCH
\set payer random(1, $accounts)
\set receiver 1 + (:payer + random(0, $((accounts - 2)))) % $accounts
\set number random(1, 9223372036854775807)
select pay('payment-' || :number::bigint, :payer::int, :receiver::int, 100);
PGBENCH

load() { # callers, seconds, more arguments of pgbench
    run "$bin/pgbench" -n -M prepared -h 127.0.0.1 -p "$port" -f "$folder/pay.sql" -c "$1" -j 1 -T "$2" "${@:3}"
}

user=$([ "$(id -u)" -eq 0 ] && echo postgres || id -un)
export PGUSER=$user PGDATABASE=postgres
echo "$("$bin/postgres" --version), primary and two standbys, ANY 1 of them synchronous; ${seconds} s after ${warm_up} s of warm-up"
echo "callers  payments/s   p50 ms   p99 ms p99.9 ms   max ms"
for count in "${callers[@]}"; do
    load "$count" "$warm_up" >/dev/null
    said=$(load "$count" "$seconds" -l --log-prefix "$folder/latencies-$count")
    [ "$(awk '/number of failed transactions/ { print $5 }' <<<"$said")" = 0 ] || fail "payments failed: $said"
    per_second=$(awk '/^tps/ { print $3 }' <<<"$said")
    # The third field of a line is the latency in microseconds.
    cat "$folder/latencies-$count".* | awk '{ print $3 }' | sort -n | awk -v callers="$count" -v rate="$per_second" '
        { latency[NR] = $1 }
        function at(share) { place = int(share * NR); return latency[place < 1 ? 1 : place] / 1000 }
        END { printf "%7d %11.0f %8.2f %8.2f %8.2f %8.2f\n", callers, rate, at(0.5), at(0.99), at(0.999), latency[NR] / 1000 }'
    rm -f "$folder/latencies-$count".*
done
[ "$(sql -c "select sum(balance) from account")" = 0 ] || fail "the balances do not add up to 0"
[ "$(sql -c "select sum(amount) from payment")" != "" ] || fail "there are no payments"
