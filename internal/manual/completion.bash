# bash completion for PROGRAM. What is only typed is never run: the answer comes
# from the PROGRAM in PATH.
_PROGRAM() {
  COMPREPLY=()
  local -a words=()
  local i word last raw=${COMP_WORDS[COMP_CWORD]} paths line
  # Readline breaks words at = and : too, so --output=json and URLs come in pieces.
  for ((i = 1; i <= COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    last=$((${#words[@]} - 1))
    if ((last >= 0)) && { [[ $word == [=:]* && ${#word} -le 2 ]] || [[ ${words[last]} == *[=:] ]]; }; then
      words[last]+=$word
    else
      words+=("$word")
    fi
  done
  [[ $raw == [=:] ]] && raw=
  last=$((${#words[@]} - 1))
  local before=${words[last]%"$raw"}
  {
    IFS= read -r paths
    while IFS= read -r line; do
      line=${line%%$'\t'*}
      COMPREPLY+=("${line#"$before"}")
    done
  } < <(command PROGRAM __complete "${words[@]}" 2>/dev/null)
  local -a how=(-f)
  case $paths in
    :dir) how=(-d) ;;
    :file) ;;
    *) return ;;
  esac
  compopt -o filenames 2>/dev/null
  while IFS= read -r line; do
    COMPREPLY+=("$line")
  done < <(compgen "${how[@]}" -- "$raw")
}
complete -F _PROGRAM PROGRAM
