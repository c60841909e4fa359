//! `brownout completions`: what a shell needs in order to complete what is typed.

use super::{
    Exit, Failure,
    args::{Cli, Completions},
    say,
};
use clap::CommandFactory;
use clap_complete::Shell;

/// Carries it out.
pub fn completions(args: &Completions) -> Result<Exit, Failure> {
    say::data(&script(args.shell))?;
    Ok(Exit::Pass)
}

/// The script for a shell.
fn script(shell: Shell) -> Vec<u8> {
    let mut command = Cli::command();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "brownout", &mut script);
    if shell == Shell::Fish {
        script.extend(positional_values(&command).into_bytes());
    }
    script
}

/// For fish, whose generator leaves out the values of arguments without a name.
fn positional_values(command: &clap::Command) -> String {
    let mut lines = String::new();
    for sub in command.get_subcommands() {
        for argument in sub.get_positionals() {
            let values = argument.get_possible_values();
            if values.is_empty() {
                continue;
            }
            let names: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
            lines.push_str(&format!(
                "complete -c brownout -n \"__fish_seen_subcommand_from {}\" -f -a \"{}\"\n",
                sub.get_name(),
                names.join(" ")
            ));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_shell_is_told_of_every_command() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}");
            }
        }
    }

    #[test]
    fn fish_is_told_the_values_of_arguments_without_a_name() {
        let script = String::from_utf8(script(Shell::Fish)).unwrap();
        let line = "\"__fish_seen_subcommand_from list\" -f -a \"faults expectations protocols\"";
        assert!(script.contains(line), "{script}");
    }
}
