_facerec_completion() {
    local line=${COMP_LINE:0:COMP_POINT} word empty="" i
    word=${line##*[[:space:]]}
    [[ -n $word ]] || empty="''"
    mapfile -t COMPREPLY < <(env COMP_WORDS="$line$empty" COMP_CWORD=-1 \
                             _FACEREC_COMPLETE=complete_bash "$1")
    [[ -n ${COMPREPLY[0]} ]] || COMPREPLY=()
    for i in "${!COMPREPLY[@]}"; do
        [[ $line == *[\"\']* ]] || printf -v "COMPREPLY[i]" %q "${COMPREPLY[i]}"
        COMPREPLY[i]=${COMPREPLY[i]#"${word%"${word##*[=:]}"}"}
    done
    [[ ${COMPREPLY[*]} != *[=/] ]] || compopt -o nospace 2>/dev/null
    return 0
}

complete -o default -F _facerec_completion facerec
