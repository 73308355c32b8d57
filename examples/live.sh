#!/bin/sh
# The city lives on a Kafka of its own: a broker, readings at 600 times their pace, the air flow, and a consumer.
#
#   examples/live.sh [SECONDS]      until Ctrl-C, or so many seconds after the first means; PORT=9092
#
# Needs java (17 or newer) and mvn, and `make setup` once. Everything it starts ends with it, and leaves nothing behind.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
seconds=${1:-0}
folder=$(mktemp -d)
broker= users=

stop() {
    trap '' INT TERM
    trap - EXIT
    for process in $users $broker; do # the broker last: the flow says goodbye to it
        kill -TERM "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 0' INT TERM # stop does the rest

python -m tests.support.broker --port "${PORT:-9092}" >"$folder/broker" &
broker=$!
until grep -q ready "$folder/broker"; do
    kill -0 "$broker" 2>/dev/null || exit 1
    sleep 0.2
done
eval "$(cat "$folder/broker")" # CITYAIR_KAFKA
cityair topics create

CITYAIR_EPOCH=1s cityair run air --input kafka --output kafka --lake "$folder/lake" &
flow=$!
python -m tests.support.follow env.air.rolling.v1 &
follower=$!
cityair simulate --start "$(date -d '4 days ago' +%F)" --days 3 --pace 600 --output kafka &
simulator=$!
users="$follower $simulator $flow"

if [ "$seconds" != 0 ]; then
    until ls -d "$folder"/lake/rolling/dt=* >/dev/null 2>&1; do
        kill -0 "$flow" || exit 1 # it said why it ended
        sleep 0.2
    done
    sleep "$seconds" &
    wait $!
else
    wait "$simulator"
fi
kill -0 "$flow" # it would have said why it ended
