#compdef reg
# zsh completion for reg
_reg() {
    local -a found shown
    local line first="" word help
    local -a typed=("${(@Q)words[2,CURRENT]}")
    while IFS= read -r line; do
        if [[ -z $first ]]; then
            first=$line
            continue
        fi
        word=${line%% *}
        help=${line#* }
        found+=("$word")
        shown+=("${word}${help:+  -- $help}")
    done < <(command ${words[1]:-reg} complete-words -- "${typed[@]}" 2>/dev/null)
    local -i none=1
    if (( $#found )); then
        compadd -l -d shown -a found && none=0
    fi
    if [[ $first == files ]]; then
        [[ $PREFIX == --*=* ]] && compset -P '*='
        _files && none=0
    fi
    return none
}
if [[ $funcstack[1] == _reg ]]; then
    _reg "$@"
else
    compdef _reg reg
fi
