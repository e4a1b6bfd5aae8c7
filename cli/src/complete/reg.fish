# fish completion for reg
function __reg_complete
    set -l typed (commandline -opc)[2..-1]
    set -l word (commandline -ct)
    set -l found (command reg complete-words -- $typed $word 2>/dev/null)
    if test (count $found) -eq 0
        return
    end
    for line in $found[2..-1]
        string replace ' ' \t -- $line
    end
    if test $found[1] = files
        __fish_complete_path (string replace -r '^--[^=]*=' '' -- $word)
    end
end
complete -c reg -f -a '(__reg_complete)'
