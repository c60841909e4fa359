//! What shells and `man` make of what is printed for them: bash itself completes, groff itself
//! renders.

mod harness;

use harness::Bench;
use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

/// What a command printed.
fn printed(arguments: &[&str]) -> String {
    let left = Bench::new().brownout(arguments);
    left.assert_status(0);
    left.stdout
}

/// Runs bash over a script in a folder, and returns what it printed.
fn bash(folder: &Bench, script: &str) -> String {
    let output = Command::new("bash")
        .args(["--norc", "--noprofile", "-c", script])
        .current_dir(folder.path())
        .output()
        .expect("bash starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said, "");
    String::from_utf8(output.stdout).expect("text")
}

/// What bash offers for the last of these words.
fn completions(words: &[&str]) -> Vec<String> {
    let folder = Bench::new().file("brownout.bash", &printed(&["completions", "bash"]));
    let last = words.last().expect("a word");
    let before = &words[words.len() - 2];
    let script = format!(
        "source ./brownout.bash; COMP_WORDS=({}); COMP_CWORD={}; COMP_LINE='{}'; \
         COMP_POINT=${{#COMP_LINE}}; _brownout brownout '{last}' '{before}'; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words
            .iter()
            .map(|word| format!("'{word}' "))
            .collect::<String>(),
        words.len() - 1,
        words.join(" "),
    );
    let offered = bash(&folder, &script);
    offered
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn bash_takes_the_script_without_complaint() {
    let folder = Bench::new().file("brownout.bash", &printed(&["completions", "bash"]));
    bash(
        &folder,
        "bash -n ./brownout.bash && source ./brownout.bash && complete -p brownout",
    );
}

#[test]
fn bash_completes_commands_options_and_values() {
    assert_eq!(completions(&["brownout", "ru"]), ["run"]);
    assert_eq!(completions(&["brownout", "run", "--sy"]), ["--system"]);
    assert_eq!(completions(&["brownout", "list", "fau"]), ["faults"]);
    assert_eq!(completions(&["brownout", "man", "com"]), ["completions"]);
    assert_eq!(
        completions(&["brownout", "explain", "lat"]),
        ["latency", "late-reply"]
    );
}

#[test]
fn bash_completes_the_files_that_an_option_takes() {
    let script = printed(&["completions", "bash"]);
    let folder = Bench::new()
        .file("brownout.bash", &script)
        .file("outage.toml", "");
    let offered = bash(
        &folder,
        "source ./brownout.bash; COMP_WORDS=(brownout run --system out); COMP_CWORD=3; \
         _brownout brownout out --system 2>/dev/null; printf '%s\\n' \"${COMPREPLY[@]}\"",
    );
    assert_eq!(offered.trim(), "outage.toml");
    // A scenario is an argument without a name: bash falls back to files by itself.
    assert!(script.contains("-o default"), "{script}");
    assert_eq!(
        completions(&["brownout", "run", "outa"]),
        Vec::<String>::new()
    );
}

#[test]
fn every_shell_has_a_script() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(
            printed(&["completions", shell]).contains("brownout"),
            "{shell}"
        );
    }
}

#[test]
fn groff_renders_every_page_without_a_warning() {
    let mut pages = vec![("brownout".to_owned(), printed(&["man"]))];
    for command in ["init", "run", "explain", "completions", "man"] {
        pages.push((format!("brownout-{command}"), printed(&["man", command])));
    }
    for (name, page) in pages {
        let mut groff = Command::new("groff")
            .args(["-man", "-Tutf8", "-ww", "-P-cbou"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("groff starts (Debian: groff-base)");
        let mut input = groff.stdin.take().expect("a pipe");
        input.write_all(page.as_bytes()).expect("groff reads");
        drop(input);
        let output = groff.wait_with_output().expect("groff ends");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name}");
        let text = String::from_utf8_lossy(&output.stdout);
        let shown = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains("SYNOPSIS"), "{text}");
        assert!(shown.contains("EXAMPLES"), "{text}");
    }
}

#[test]
fn an_unknown_page_is_an_error_of_usage() {
    let left = Bench::new().brownout(&["man", "rum"]);
    left.assert_status(64);
    assert_eq!(
        left.stderr,
        "error: no command is named `rum`\nhint: did you mean `run`?\n"
    );
}

#[test]
fn completions_leave_nothing_behind() {
    let folder = Bench::new();
    folder.brownout(&["completions", "zsh"]).assert_status(0);
    folder.brownout(&["man"]).assert_status(0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
