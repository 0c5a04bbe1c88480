"""The scripts of `completion`, with places in capitals (@TABLE@) that it fills in."""

from __future__ import annotations

# bash and zsh read the same functions.
NAMES = r"""
_sandbox_plain() { # of the lines of stdin, those that are plain names
    local name
    while IFS= read -r name; do
        case $name in
        *[!A-Za-z0-9._+-]* | [!A-Za-z0-9]* | '') ;;
        *) printf '%s\n' "$name" ;;
        esac
    done
}

_sandbox_profiles() {
    printf '%s\n' @SHIPPED@
    command ls -- "${XDG_CONFIG_HOME:-$HOME/.config}/sandbox/profiles" 2>/dev/null | command sed -n 's/\.toml$//p' | _sandbox_plain
}

_sandbox_ids() {
    local base
    for base in "$XDG_RUNTIME_DIR" "/run/user/$UID" "/tmp/sandbox-$UID"; do
        if [ -n "$base" ] && [ -O "$base/sandbox/containers" ]; then
            command ls -- "$base/sandbox/containers" 2>/dev/null | _sandbox_plain
            return
        fi
    done
}

_sandbox_value() { # the kind of value that an option takes: VERB… OPTION
    case $1 in
@VALUES@
    *) return 1 ;;
    esac
}
"""

BASH = r"""# bash completion for sandbox, by `sandbox completion bash`; needs no other package.
@NAMES@
_sandbox_verb() { # what a verb takes
    case $1 in
@TABLE@
    esac
}

_sandbox_offer() { # the kind, what was typed
    local IFS=$'\n'
    case $1 in
    profile)
        compopt -o filenames 2>/dev/null
        COMPREPLY=($(compgen -W "$(_sandbox_profiles)" -- "$2") $(compgen -f -X '!*.toml' -- "$2") $(compgen -d -- "$2"))
        ;;
    id) COMPREPLY=($(compgen -W "$(_sandbox_ids)" -- "$2")) ;;
    file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$2")) ;;
    directory) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$2")) ;;
    variable) compopt -o nospace 2>/dev/null; COMPREPLY=($(compgen -v -- "$2")) ;;
    none) ;;
    *) COMPREPLY=($(IFS=' ' compgen -W "$1" -- "$2")) ;;
    esac
}

_sandbox() {
    local node=sandbox verbs options arguments word kind i=1 count=0 dashes='' cur=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    _sandbox_verb sandbox
    while ((i < COMP_CWORD)); do
        word=${COMP_WORDS[i]}
        if [[ -z $dashes && $word == -- ]]; then
            dashes=1
        elif [[ -z $dashes && $word == -* ]]; then
            if kind=$(_sandbox_value "$node $word"); then
                [[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))
                if ((i + 1 >= COMP_CWORD)); then
                    [[ $cur == = ]] && cur=
                    _sandbox_offer "$kind" "$cur"
                    return
                fi
                ((i++))
            fi
        elif [[ -n $verbs && " $verbs " == *" $word "* ]]; then
            node="$node $word"
            _sandbox_verb "$node"
        else
            kind=${arguments[count < ${#arguments[@]} ? count : ${#arguments[@]} - 1]}
            [[ $kind == command ]] && break
            ((count++))
        fi
        ((i++))
    done
    kind=none
    ((${#arguments[@]})) && kind=${arguments[count < ${#arguments[@]} ? count : ${#arguments[@]} - 1]}
    if [[ $i -eq $COMP_CWORD && -z $dashes && $cur == -* ]]; then
        _sandbox_offer "$options" "$cur"
    elif [[ -n $verbs ]]; then
        _sandbox_offer "$verbs" "$cur"
    elif [[ $kind != command ]]; then
        _sandbox_offer "$kind" "$cur"
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$i"
    elif ((i == COMP_CWORD)) && [[ $cur != */* ]]; then
        local IFS=$'\n'
        COMPREPLY=($(compgen -c -- "$cur"))
    else
        _sandbox_offer file "$cur"
    fi
}

complete -F _sandbox sandbox
"""

ZSH = r"""#compdef sandbox
# zsh completion for sandbox, by `sandbox completion zsh`.
@NAMES@
_sandbox_verb() { # what a verb takes
    case $1 in
@TABLE@
    esac
}

_sandbox_offer() {
    case $1 in
    profile) _alternative "profiles:profile:($(_sandbox_profiles))" 'files:file:_files -g "*.toml"' ;;
    id) compadd -- $(_sandbox_ids) ;;
    file) _files ;;
    directory) _files -/ ;;
    variable) _parameters -g '*export*' -S= ;;
    none) _message 'a value' ;;
    *) compadd -- ${=1} ;;
    esac
}

_sandbox() {
    local node=sandbox word kind dashes=''
    local -a verbs options arguments
    integer i=2 count=1
    _sandbox_verb sandbox
    while ((i < CURRENT)); do
        word=$words[i]
        if [[ -z $dashes && $word == -- ]]; then
            dashes=1
        elif [[ -z $dashes && $word == -* ]]; then
            if kind=$(_sandbox_value "$node $word"); then
                if ((i + 1 == CURRENT)); then
                    _sandbox_offer "$kind"
                    return
                fi
                ((i++))
            fi
        elif ((${verbs[(I)$word:*]})); then
            node="$node $word"
            verbs=() options=() arguments=()
            _sandbox_verb "$node"
        else
            kind=${arguments[count]:-${arguments[-1]:-none}}
            [[ $kind == command ]] && break
            ((count++))
        fi
        ((i++))
    done
    kind=${arguments[count]:-${arguments[-1]:-none}}
    if [[ $i -eq $CURRENT && -z $dashes && $words[CURRENT] == -*=* ]] &&
        kind=$(_sandbox_value "$node ${words[CURRENT]%%=*}"); then
        compset -P '*='
        _sandbox_offer "$kind"
    elif [[ $i -eq $CURRENT && -z $dashes && $words[CURRENT] == -* ]]; then
        _describe -o option options
    elif (($#verbs)); then
        _describe verb verbs
    elif [[ $kind == command ]]; then
        words=("${(@)words[i,-1]}")
        ((CURRENT -= i - 1))
        _normal
    else
        _sandbox_offer "$kind"
    fi
}

if [[ $funcstack[1] == _sandbox ]]; then
    _sandbox "$@"
else
    compdef _sandbox sandbox
fi
"""

FISH = r"""# fish completion for sandbox, by `sandbox completion fish`.

function __sandbox_profiles
    printf '%s\n' @SHIPPED@
    set -l base $XDG_CONFIG_HOME
    test -n "$base"; or set base ~/.config
    for file in $base/sandbox/profiles/*.toml
        string match -r '^[A-Za-z0-9][A-Za-z0-9._+-]*$' -- (path basename -E $file 2>/dev/null; or basename $file .toml)
    end
end

function __sandbox_ids
    set -l user (id -u)
    for base in $XDG_RUNTIME_DIR /run/user/$user /tmp/sandbox-$user
        if test -O $base/sandbox/containers
            string match -r '^[A-Za-z0-9][A-Za-z0-9._+-]*$' -- (command ls -- $base/sandbox/containers 2>/dev/null)
            return
        end
    end
end

function __sandbox_takes_value
    switch "$argv"
        case @TAKES@
            return 0
    end
    return 1
end

# The words so far: the verb, how many arguments there are (or "command", once it has begun), and that command.
function __sandbox_words
    set -l words (commandline -opc)
    set -e words[1]
    set -l node sandbox
    set -l count 0
    set -l dashes 0
    while set -q words[1]
        set -l word $words[1]
        if test $dashes = 0 -a "x$word" = x--
            set dashes 1
        else if test $dashes = 0; and string match -q -- '-*' $word
            if __sandbox_takes_value $node $word
                set -e words[1]
            end
        else if contains -- "$node $word" @NODES@
            set node "$node $word"
        else if contains -- "$node $count" @COMMANDS@
            printf '%s\n' "$node" command $words
            return
        else
            set count (math $count + 1)
        end
        set -e words[1]
    end
    printf '%s\n' "$node" $count
end

function __sandbox_at # VERB… [COUNT]: is that where we are?
    set -l words (__sandbox_words)
    test "$words[1]" = "$argv[1]"; or return 1
    test (count $argv) = 1 -a "$words[2]" != command -o "$words[2]" = "$argv[2]"
end

function __sandbox_command
    set -l words (__sandbox_words)
    set -l token (commandline -ct)
    if not set -q words[3]; and string match -q -- '-*' $token
        return # an option of ours
    end
    complete --do-complete=(string join ' ' -- (string escape -- $words[3..-1]) $token)
end

complete -c sandbox -f
@COMPLETE@
"""
