"""Completion scripts of bash and zsh in the place of Typer's.

Typer's leave a space after `key=`, and in bash lose words that hold quotes, `=` or `:`. Its replies
to `--option=value` are values alone, which no shell takes for that word.
"""

from __future__ import annotations

from typing import Any

# Bash also splits words at = and :, and replaces only what follows the last of them, or an open
# quote. The scan keeps the word's value, how much of it stays, and that quote. Python gets the line
# with the value quoted anew; of each reply the rest goes back, escaped for where it will stand.
BASH = r"""
%(complete_func)s() {
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
                [[ -n $quote || $COMP_WORDBREAKS != *"$char"* ]] || kept=${word%%@} ;;
        esac
    done
    line=${line:0:start}\'${word//\'/"$apostrophe"}\'
    mapfile -t COMPREPLY < <(env COMP_WORDS="$line" COMP_CWORD=-1 \
                             %(autocomplete_var)s=complete_bash "$1")
    [[ -n ${COMPREPLY[0]} ]] || COMPREPLY=()
    [[ ${COMPREPLY[*]} != *[=/] ]] || compopt -o nospace 2>/dev/null
    for i in "${!COMPREPLY[@]}"; do
        rest=${COMPREPLY[i]#"$kept"}
        case $quote in
            \') rest=${rest//\'/"$apostrophe"} ;;
            \") for char in \\ \" \$ \`; do rest=${rest//"$char"/"\\$char"}; done ;;
            *) [[ -z $rest ]] || printf -v rest %%q "$rest" ;;
        esac
        COMPREPLY[i]=$rest
    done
    return 0
}

complete -o default -F %(complete_func)s %(prog_name)s
"""

# The lines that fish gets: a value, a tab, its help.
ZSH = r"""
#compdef %(prog_name)s

%(complete_func)s() {
  local line value
  local -a values told open_values open_told
  for line in "${(@f)$(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" \
      _TYPER_COMPLETE_FISH_ACTION=get-args %(autocomplete_var)s=complete_fish %(prog_name)s)}"; do
    [[ -n $line ]] || continue
    value=${line%%%%$'\t'*}
    if [[ $value == *[=/] ]]; then
      open_values+=("$value"); open_told+=("${line//$'\t'/  -- }")
    else
      values+=("$value"); told+=("${line//$'\t'/  -- }")
    fi
  done
  if (( $#values + $#open_values == 0 )); then
    _files
    return
  fi
  (( $#values == 0 )) || compadd -l -d told -a values
  (( $#open_values == 0 )) || compadd -l -S '' -d open_told -a open_values
}

compdef %(complete_func)s %(prog_name)s
"""


def use_own_scripts() -> None:
    """Let `--show-completion` and `--install-completion` take these scripts."""
    from typer import _completion_shared as shared

    shared._completion_scripts.update(bash=BASH, zsh=ZSH)


def reply_with_options() -> None:
    """Let replies to `--option=value` begin with `--option=`, as the replaced word does."""
    from typer import _completion_classes

    # Untyped: Typer exports neither it nor what it is derived from.
    base: Any = _completion_classes.BashComplete.mro()[1]
    reply = base.get_completions

    def get_completions(self: Any, args: list[str], incomplete: str) -> list[Any]:
        items: list[Any] = reply(self, args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if equals and option.startswith("-"):
            for item in items:
                item.value = f"{option}={item.value}"
        return items

    base.get_completions = get_completions
