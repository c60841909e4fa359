//! Options as users of Toxiproxy have learnt to type them: long ones with one dash.

use std::ffi::OsString;

/// The long options that may be typed so, by command.
const ONE_DASH: &[(&str, &[&str])] = &[(
    "serve",
    &[
        "host",
        "port",
        "config",
        "seed",
        "proxy-metrics",
        "runtime-metrics",
        "version",
    ],
)];

/// The arguments of a process, in which such an option has its second dash.
pub(super) fn with_two_dashes(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.collect();
    let command = args.get(1).and_then(|arg| arg.to_str()).unwrap_or_default();
    let known = ONE_DASH.iter().find(|(name, _)| *name == command);
    let Some((_, options)) = known else {
        return args;
    };
    for arg in args.iter_mut().skip(2) {
        let longer = arg.to_str().and_then(|text| longer(text, options));
        if let Some(longer) = longer {
            *arg = longer.into();
        }
    }
    args
}

fn longer(text: &str, options: &[&str]) -> Option<String> {
    let name = text.strip_prefix('-')?.split('=').next()?;
    options.contains(&name).then(|| format!("-{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelt(args: &[&str]) -> Vec<String> {
        let args = args.iter().map(OsString::from);
        let spelt = with_two_dashes(args).into_iter();
        spelt.map(|arg| arg.into_string().expect("text")).collect()
    }

    #[test]
    fn the_options_of_serve_may_have_one_dash() {
        let typed = [
            "brownout",
            "serve",
            "-host=::1",
            "-port",
            "0",
            "--seed",
            "-7",
            "-proxy-metrics",
        ];
        let meant = [
            "brownout",
            "serve",
            "--host=::1",
            "--port",
            "0",
            "--seed",
            "-7",
            "--proxy-metrics",
        ];
        assert_eq!(spelt(&typed), meant);
    }

    #[test]
    fn nothing_else_is_touched() {
        for args in [
            &["brownout", "run", "-seed", "1"][..],
            &["brownout", "serve", "-h", "-x=1"],
            &["brownout"],
        ] {
            assert_eq!(spelt(args), args);
        }
    }
}
