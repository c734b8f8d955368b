# fish completion for PROGRAM. What is only typed is never run: the answer comes
# from the PROGRAM in PATH.
function __PROGRAM_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l answer (command PROGRAM __complete $words[2..-1] "$current" 2>/dev/null)
    printf '%s\n' $answer[2..-1]
    # A file that is the value of --flag=FILE
    set -l before (string match -r -- '^-[^=]*=' "$current")
    set -l path (string replace -r -- '^-[^=]*=' '' "$current")
    switch "$answer[1]"
        case :file
            set -l found (__fish_complete_path "$path")
            test (count $found) -gt 0; and printf '%s\n' "$before"$found
        case :dir
            set -l found (__fish_complete_directories "$path" '')
            test (count $found) -gt 0; and printf '%s\n' "$before"$found
    end
end
complete -c PROGRAM -f -a '(__PROGRAM_complete)'
