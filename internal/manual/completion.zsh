#compdef PROGRAM
# zsh completion for PROGRAM. What is only typed is never run: the answer comes
# from the PROGRAM in PATH.
_PROGRAM() {
  local line paths
  local -a answer offered
  answer=("${(@f)$(command PROGRAM __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
  paths=$answer[1]
  for line in "${(@)answer[2,-1]}"; do
    offered+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done
  (( $#offered )) && _describe PROGRAM offered
  case $paths in
    (:file) compset -P '-*='; _files ;;
    (:dir) compset -P '-*='; _files -/ ;;
  esac
}
if [[ $funcstack[1] == _PROGRAM ]]; then
  _PROGRAM "$@"
else
  compdef _PROGRAM PROGRAM
fi
