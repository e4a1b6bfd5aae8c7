# bash completion for reg
_reg() {
    local colons=${COMP_WORDBREAKS//[^:=]/} joined=() word="" i line first="" help cut
    # bash cuts words at : and =, which names of models and flags have: join what belongs together.
    for ((i = 1; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -n $colons && ${#joined[@]} -gt 0 && ($word == [:=]* || ${joined[-1]} == *[:=]) ]]; then
            joined[-1]+=$word
        else
            joined+=("$word")
        fi
    done
    word=${joined[-1]-}
    COMPREPLY=()
    while IFS=' ' read -r line help; do
        if [[ -z $first ]]; then
            first=$line
        else
            COMPREPLY+=("$line")
        fi
    done < <(command "${COMP_WORDS[0]:-reg}" complete-words -- "${joined[@]}" 2>/dev/null)
    if [[ $first == files ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "${word#--*=}")
    fi
    # bash replaces what stands behind the last : or =.
    if [[ -n $colons && $word == *[:=]* ]]; then
        cut=${word%"${word##*[:=]}"}
        for i in "${!COMPREPLY[@]}"; do
            COMPREPLY[i]=${COMPREPLY[i]#"$cut"}
        done
    fi
}
complete -F _reg reg
