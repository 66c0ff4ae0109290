_facerec_completion() {
    local line=${COMP_LINE:0:COMP_POINT} start=0 word="" kept="" outside="" quote=""
    local apostrophe="'\\''" char rest i
    for ((i = 0; i < ${#line}; i++)); do
        char=${line:i:1}
        case $quote$char in
            "''" | '""')
                quote="" kept=$outside ;;
            "'" | '"')
                quote=$char outside=$kept kept=$word ;;
            \\ | \"\\)
                i=$((i + 1)) char=${line:i:1}
                [[ -z $quote || $char == [\"\\\$\`] ]] || word+=\\
                word+=$char ;;
            [[:space:]])
                word="" kept="" start=$((i + 1)) ;;
            *)
                word+=$char
                [[ -n $quote || $COMP_WORDBREAKS != *"$char"* ]] || kept=${word%@} ;;
        esac
    done
    line=${line:0:start}\'${word//\'/"$apostrophe"}\'
    mapfile -t COMPREPLY < <(env COMP_WORDS="$line" COMP_CWORD=-1 \
                             _FACEREC_COMPLETE=complete_bash "$1")
    [[ -n ${COMPREPLY[0]} ]] || COMPREPLY=()
    [[ ${COMPREPLY[*]} != *[=/] ]] || compopt -o nospace 2>/dev/null
    for i in "${!COMPREPLY[@]}"; do
        rest=${COMPREPLY[i]#"$kept"}
        case $quote in
            \') rest=${rest//\'/"$apostrophe"} ;;
            \") for char in \\ \" \$ \`; do rest=${rest//"$char"/"\\$char"}; done ;;
            *) [[ -z $rest ]] || printf -v rest %q "$rest" ;;
        esac
        COMPREPLY[i]=$rest
    done
    return 0
}

complete -o default -F _facerec_completion facerec
