# Helpers of the journeys: sourced behind tests/e2e/lib.sh, whose folder and helpers they use.
# shellcheck shell=bash disable=SC2154

# begin PAGE: makes the test's folder the project's root as a user has it, with `dissent` on the path, and reads the commands of docs/PAGE, the lines of its blocks for the shell. Each is
# walked, or named with where it is run; end_page says which are not.
begin() {
  page=docs/$1
  cp -r "$source_dir"/{configs,jobs,scripts} .
  mkdir -p results build bin
  cp -r "$source_dir/results/published" results/published
  ln -s "$(dirname "$program")" build/release
  ln -s "$program" bin/dissent
  ln -s "$(dirname "$(dirname "$(. "$source_dir/scripts/lib.sh" && torch_python)")")" .venv
  export PATH=$work/bin:$PATH
  awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$source_dir/$page" > commands.txt
  [ -s commands.txt ] || failed "$page has no commands"
  : > walked.txt
}

known() {
  grep -qxF -- "$1" commands.txt || failed "$page has no command: $1"
  printf '%s\n' "$1" >> walked.txt
}

# walk COMMAND [ARGUMENT...]: runs a command of the page, with more arguments; it ends with 0.
walk() {
  local text=$1
  shift
  known "$text"
  command="$text $*"
  status=0
  eval "$text \"\$@\"" > out 2> err || status=$?
  expect_exit 0
}

# elsewhere COMMAND WHERE: a command of the page that is run there.
elsewhere() { known "$1"; [ -n "$2" ] || failed "$1: where is it run?"; }

end_page() {
  grep -vxFf walked.txt commands.txt > left.txt || true
  [ ! -s left.txt ] || failed "$page has commands that are not walked: $(tr '\n' ';' < left.txt)"
}
