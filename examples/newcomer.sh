#!/usr/bin/env bash
# All that lmgym is for, once, on this machine alone: a game of one's own is checked, played, learned, served and ranked.
# Under five minutes. Run it from anywhere, with lmgym installed: bash examples/newcomer.sh [FOLDER]
# Needs beside lmgym: pip install 'lmgym[openai,serve]' fastapi. Trainings are far too short to be good.
set -euo pipefail
examples=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=${1:-runs/newcomer}
[ ! -e "$work" ] || { echo "$work exists already; name another folder or remove it" >&2; exit 2; }
mkdir -p "$work"
cd "$work"
# What servers answer is kept in here, not among your own files; no model is looked for on the network.
export LMGYM_CACHE=$PWD/cache HF_HUB_OFFLINE=1 NO_PROXY=127.0.0.1 no_proxy=127.0.0.1

servers=""
finish() {
    status=$?
    trap - EXIT
    for server in $servers; do kill "$server" 2>/dev/null || true; done
    for server in $servers; do wait "$server" 2>/dev/null || true; done
    [ "$status" = 0 ] || echo "it stopped at step $step; what was made is in $PWD" >&2
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

step=0
say() { step=$((step + 1)); printf '\n== %2d  %s\n' "$step" "$1"; }
free_port() { python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
wait_for() { # address, process, its output
    for _ in $(seq 600); do
        if python -c "import urllib.request as r; r.urlopen('$1', timeout=5)" 2>/dev/null; then return; fi
        kill -0 "$2" 2>/dev/null || break
        sleep 0.2
    done
    echo "nobody answers at $1:" >&2
    tail -n 20 "$3" >&2
    exit 1
}

game=price_game:shop/PriceGame-v0

say "install the game: a package with one file, of which lmgym knows nothing"
pip install --quiet -e "$examples/custom_env"

say "check that it keeps the contract"
lmgym check $game

say "watch the best known player"
lmgym play $game --agent expert

say "collect games of those who play its offline data"
lmgym collect $game --episodes 500 --out data.parquet

say "clone them (bc)"
lmgym train bc --env $game --data data.parquet --out runs/bc --steps 150 --batch-tokens 512

say "learn from the same games what is better than what they show (ilql)"
lmgym train ilql --env $game --data data.parquet --init runs/bc --out runs/ilql --steps 200 --batch-tokens 512

say "tune: the weight of the learned values and the temperature, on validation games"
lmgym tune runs/ilql --episodes 30

say "evaluate both on other games"
lmgym eval runs/bc --episodes 200
lmgym eval runs/ilql --episodes 200

say "look at what it thought of each token"
lmgym inspect runs/ilql --html game.html

say "serve the game over HTTP"
port=$(free_port)
lmgym serve $game --port "$port" >serve.log 2>&1 &
servers="$servers $!"
wait_for "http://127.0.0.1:$port/v1/game" $! serve.log

say "play it there: the same games as here"
lmgym eval runs/bc --episodes 50 --save here.parquet
lmgym eval runs/bc --env lmgym/Remote-v0 --env-args url="http://127.0.0.1:$port" --episodes 50 --save remote.parquet
cat >same.py <<'EOF'
import sys
from lmgym import read_episodes

one, other = ([[(turn.text, turn.reward) for turn in game.turns] for game in read_episodes(path)] for path in sys.argv[1:])
sys.exit(f"{sys.argv[1:]} hold different games" if one != other else None)
EOF
python same.py here.parquet remote.parquet

say "serve the trained policy as a chat model (transformers serve)"
port=$(free_port)
transformers serve runs/bc --host 127.0.0.1 --port "$port" --device cpu >chat.log 2>&1 &
servers="$servers $!"
wait_for "http://127.0.0.1:$port/health" $! chat.log

say "play it as any hosted model is played: the same games as the policy plays here"
lmgym eval "openai:runs/bc@http://127.0.0.1:$port/v1" --env $game --prompt none --episodes 20 --save chat.parquet
lmgym eval runs/bc --temperature 0 --episodes 20 --save greedy.parquet
python same.py greedy.parquet chat.parquet

say "write the data as chats, for other people's trainers"
lmgym data export data.parquet --to chat --out data.jsonl

say "make a small leaderboard of one's own"
cat >small.toml <<EOF
tasks = ["$game"]
seeds = 1
tuning_episodes = 20
evaluation_episodes = 50

[settings."$game"]
data = 200
bc = { optim = { steps = 50, batch_tokens = 512 } }
filtered_bc = { optim = { steps = 20, batch_tokens = 512 } }
EOF
lmgym leaderboard run --preset small.toml --methods random expert bc filtered_bc --out board
lmgym leaderboard table --entries board/entries --out board

say "verify an entry: its games are played again"
lmgym leaderboard verify board/entries/*/filtered_bc/seed-0

say "done: $work holds data, runs, the page game.html and the leaderboard (board/README.md, board/site)"
