//! Flags and arguments: what is taken, and what is said of what isn't.

use std::process::Stdio;

use tortie_api::kind::{Kind, ResourceKey};
use tortie_store::keys;

use crate::fixture::{Fixture, On, failed, mk_pool, ok};

fn what_is_wrong_with_a_command_line_is_said_in_cobras_words(on: On) {
    let fixture = Fixture::on(on);
    for (arguments, err) in [
        (&["-m"][..], "unknown shorthand flag: 'm' in -m\n"),
        (&["--unknown-flag"], "unknown flag: --unknown-flag\n"),
        (&["get", "ippool", "--unknown-flag=5"], "unknown flag: --unknown-flag\n"),
        (&["apply", "-Rm"], "unknown shorthand flag: 'm' in -Rm\n"),
        (&["get", "ippool", "-o"], "flag needs an argument: 'o' in -o\n"),
        (&["get", "ippool", "--output"], "flag needs an argument: --output\n"),
        (&["appply"], "unknown command \"appply\" for \"calicoctl\"\n\nDid you mean this?\n\tapply\n\n"),
        (&["ipam", "frobnicate"], "unknown command \"frobnicate\" for \"calicoctl ipam\"\n"),
        (&["create", "ippool"], "No resources specified\n"),
        (&["convert"], "failed to execute command: no file is given; expected --filename\n"),
        (
            &["get", "ippool", "--recursive=maybe"],
            "invalid argument \"maybe\" for \"-R, --recursive\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax\n",
        ),
        (
            &["ipam", "configure", "--ip-cooldown-seconds=soon"],
            "invalid argument \"soon\" for \"--ip-cooldown-seconds\" flag: strconv.ParseInt: parsing \"soon\": invalid syntax\n",
        ),
        (
            &["ipam", "configure", "--ip-cooldown-seconds", "99999999999999999999"],
            "invalid argument \"99999999999999999999\" for \"--ip-cooldown-seconds\" flag: strconv.ParseInt: parsing \"99999999999999999999\": value out of range\n",
        ),
        (&["ipam", "split"], "accepts 1 arg(s), received 0\n"),
        (&["frobnicate"], "unknown command \"frobnicate\" for \"calicoctl\"\n"),
        (&["patch", "ippool"], "accepts 2 arg(s), received 1\n"),
        (&["patch", "ippool", "a", "b", "-p", "{}"], "accepts 2 arg(s), received 3\n"),
        (&["label", "ippool", "a"], "requires at least 3 arg(s), only received 2\n"),
        (&["label", "ippool", "a", "b"], "invalid label b\n"),
        (
            &["-l", "loud", "get", "ippool"],
            "unknown log level: loud, expected one of: panic, fatal, error, warn, info, debug\n",
        ),
        (&["get"], "failed to get resources: No resources specified\n"),
        (&["apply"], "No resources specified\n"),
        (&["get", "ippool", "-o", "go-template="], "need to specify a template\n"),
        (&["get", "ippool", "-o", "custom-columns="], "need to specify at least one column\n"),
        (&["version", "--poll", "soon"], "invalid poll duration specified: soon\n"),
    ] {
        assert_eq!(fixture.run(arguments), failed("", err), "{arguments:?}");
    }
}

fn flags_stand_anywhere_in_any_form_and_the_last_one_counts(on: On) {
    let fixture = Fixture::on(on);
    fixture.must(&["apply", "-f", "-"], &mk_pool("a", "10.0.0.0/16"));
    let expected = fixture.run(&["get", "ippool", "a", "-o", "wide"]);
    assert_eq!(expected.code, Some(0));
    for arguments in [
        &["get", "-o", "wide", "ippool", "a"][..],
        &["get", "-owide", "IPPools", "a"],
        &["get", "--output=wide", "pool", "a"],
        &["get", "--output", "wide", "pool", "a", "--allow-version-mismatch"],
        &["--allow-version-mismatch", "get", "pool", "a", "-o=wide"],
        &["--log-level=panic", "get", "pool", "-o", "yaml", "-o", "wide", "a"],
        &["--context", "here", "get", "pool", "a", "-o", "wide", "-l", "fatal"],
        &["get", "pool", "a", "-o", "wide", "--recursive=false", "--export=true"],
    ] {
        assert_eq!(fixture.run(arguments), expected, "{arguments:?}");
    }
}

fn help_is_no_failure(on: On) {
    let fixture = Fixture::on(on);
    for arguments in [&[][..], &["-h"], &["--help"], &["get", "-h"], &["help"], &["patch", "--help"]] {
        let said = fixture.run(arguments);
        assert_eq!((said.err.as_str(), said.code), ("", Some(0)), "{arguments:?}");
        assert!(said.out.contains("Usage: calicoctl"), "{arguments:?}: {said:?}");
    }
}

fn versions_are_shown_and_a_cluster_of_another_one_is_refused(on: On) {
    let fixture = Fixture::on(on);
    let client = fixture.run(&["version", "--client"]);
    let git = format!("Git commit:        tortie-{}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(client, ok(&format!("Client Version:    v3.33.0\n{git}")));
    let nothing = fixture.run(&["version"]);
    assert_eq!(
        nothing,
        failed(
            &client.out,
            "unable to retrieve Cluster Version or Type: resource does not exist: ClusterInformation(default) with error: <nil>\n"
        )
    );
    fixture.must(&["apply", "-f", "-"], &mk_pool("a", "10.0.0.0/16"));
    assert_eq!(
        fixture.run(&["version"]).out,
        format!("{}Cluster Version:   v3.33.0\nCluster Type:      unknown\n", client.out)
    );
    let one_of_two = fixture.run(&["get", "ippool", "a", "b"]);
    assert!(one_of_two.out.contains("10.0.0.0/16"), "{one_of_two:?}");
    assert!(one_of_two.err.starts_with("resource does not exist: IPPool(b)"), "{one_of_two:?}");
    assert_eq!(one_of_two.code, Some(1));
    // Only Calico's own components write it.
    let key = keys::resource(&ResourceKey::cluster(Kind::ClusterInformation, "default"));
    let store = fixture.store();
    let value = String::from_utf8(store.get(&key).unwrap().unwrap().value).unwrap();
    store.put(&key, value.replace("v3.33.0", "v3.20.1-0.dev").as_bytes()).unwrap();
    let mismatch = "failed to get resources: Version mismatch.\nClient Version:   v3.33.0\nCluster Version:  3.20.1\nUse --allow-version-mismatch to override.\n\n";
    // Whatever else is wrong: what is read with it, or can't be, is told after it.
    for words in [&["get", "ippool"][..], &["get", "ippool", "a", "b"], &["get", "floppy", "a"]] {
        assert_eq!(fixture.run(words), failed("", mismatch));
    }
    assert_eq!(fixture.run(&["--allow-version-mismatch", "get", "ippool"]).code, Some(0));
    assert_eq!(fixture.run(&["version"]).code, Some(0));
}

fn a_datastore_that_cannot_be_opened_is_told_of_on_standard_output(on: On) {
    let fixture = Fixture::on(on);
    let mut command = fixture.command(&["get", "ippool"]);
    command.env("DATASTORE_TYPE", "floppy");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.starts_with("Failed to create Calico API client: "), "{out}");
    assert!(output.stderr.is_empty());
}

fn a_reader_that_goes_ends_the_command_without_a_word(on: On) {
    let fixture = Fixture::on(on);
    for arguments in [&["get", "tier", "-o", "yaml"][..], &["ipam", "show"], &["version", "--client"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = fixture.command(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(
            (output.status.code(), String::from_utf8(output.stderr).unwrap()),
            (Some(141), String::new())
        );
    }
}

crate::fixture::on_both! {
    what_is_wrong_with_a_command_line_is_said_in_cobras_words, flags_stand_anywhere_in_any_form_and_the_last_one_counts, help_is_no_failure, versions_are_shown_and_a_cluster_of_another_one_is_refused, a_datastore_that_cannot_be_opened_is_told_of_on_standard_output, a_reader_that_goes_ends_the_command_without_a_word
}
