# shellcheck shell=bash
# Printing of the demo: what it says, and commands with a $ before them.
bold= plain=
if [[ -t 1 ]]; then bold=$'\e[1m' plain=$'\e[0m'; fi

title() { printf '\n%s\n' "$bold$1$plain"; }
say() { printf '%s\n' "$1"; }

# The command as it would be typed.
typed() {
  local line= word
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]] || printf -v word '%q' "$word"
    line+=" $word"
  done
  printf '%s\n' "$bold\$$line$plain"
}

# show <command...>: prints it and runs it. Notes on stderr come in their place.
show() {
  typed "$@"
  "$@" 2>&1
}

# show_in <directory> <command...>
show_in() {
  local dir=$1
  shift
  typed "$@"
  (cd "$dir" && "$@" 2>&1)
}

# show_head <lines> <command...>: of what it prints only the first lines, but it runs to its end.
show_head() {
  local lines=$1 output
  shift
  typed "$@"
  output=$("$@" 2>&1)
  head -n "$lines" <<<"$output"
  echo "... ($(wc -l <<<"$output") lines)"
}
