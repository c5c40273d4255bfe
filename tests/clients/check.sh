# Sourced by the clients that are shell scripts: counts checks, and prints "<name>: N passed, N failed" at the end.

passed=0 failed=0

# check NAME COMMAND...: the command must succeed and print something that matches $want (a regular expression), if set.
check() {
    local name=$1 output code=0
    shift
    output=$("$@" 2>&1) || code=$?
    if [[ $code -eq ${want_code:-0} && $output =~ ${want:-.*} ]]; then
        passed=$((passed + 1))
        echo "ok - $name"
    else
        failed=$((failed + 1))
        printf 'not ok - %s (exit code %s, expected %s, output matching %s)\n%s\n' \
            "$name" "$code" "${want_code:-0}" "${want:-anything}" "$output"
    fi
    last=$output
}

# field NAME: the first string field of this name in the last output.
field() {
    sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" <<<"$last" | head -n 1
}

summary() {
    echo "$1: $passed passed, $failed failed"
    [[ $failed -eq 0 ]]
}
