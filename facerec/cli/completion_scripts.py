"""Completion scripts of bash and zsh in the place of Typer's.

Typer's leave a space after `key=`, and in bash lose words that hold `=` or `:`.
"""

from __future__ import annotations

# Bash also splits words at = and :, and replaces only what follows the last of them. Python gets
# the line as typed, and of each reply only the end goes back.
BASH = r"""
%(complete_func)s() {
    local line=${COMP_LINE:0:COMP_POINT} word empty="" i
    word=${line##*[[:space:]]}
    [[ -n $word ]] || empty="''"
    mapfile -t COMPREPLY < <(env COMP_WORDS="$line$empty" COMP_CWORD=-1 \
                             %(autocomplete_var)s=complete_bash "$1")
    [[ -n ${COMPREPLY[0]} ]] || COMPREPLY=()
    for i in "${!COMPREPLY[@]}"; do
        [[ $line == *[\"\']* ]] || printf -v "COMPREPLY[i]" %%q "${COMPREPLY[i]}"
        COMPREPLY[i]=${COMPREPLY[i]#"${word%%"${word##*[=:]}"}"}
    done
    [[ ${COMPREPLY[*]} != *[=/] ]] || compopt -o nospace 2>/dev/null
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
