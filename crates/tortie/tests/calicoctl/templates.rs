//! `-o go-template` and `go-template-file`.

use crate::fixture::{Fixture, On, failed, mk_pool, ok};

fn templates_see_the_fields_of_calicos_go_types(on: On) {
    let fixture = Fixture::on(on);
    let node = "---\napiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {name: n1, labels: {rack: b}}\nspec: {bgp: {ipv4Address: 192.168.0.1/24}}\n";
    let set = "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: s}\nspec: {nets: [10.0.0.0/8, 11.0.0.0/8]}\n";
    let all = mk_pool("a", "10.0.0.0/16") + &mk_pool("b", "10.1.0.0/16") + node + set;
    fixture.must(&["apply", "-f", "-"], &all);
    for (arguments, template, out) in [
        (
            &["ippool", "a", "b"][..],
            "{{range .}}{{.ObjectMeta.Name}} {{.Spec.CIDR}}\n{{end}}",
            "a 10.0.0.0/16\nb 10.1.0.0/16\n",
        ),
        (
            &["ippool"],
            "{{range .}}{{range .Items}}{{.Name}}={{.Spec.IPIPMode}},{{.Spec.NATOutgoing}};{{end}}{{end}}",
            "a=Never,false;b=Never,false;",
        ),
        (&["ippool"], "{{range .}}{{.Kind}}{{end}}", "IPPoolList"),
        (&["globalnetworkset", "s"], "{{range .}}{{join .Spec.Nets \",\"}}{{end}}", "10.0.0.0/8,11.0.0.0/8"),
        (&["gnetsets", "s"], "{{range .}}{{joinAndTruncate .Spec.Nets \",\" 12}}{{end}}", "10.0.0.0/..."),
        (
            &["node"],
            "{{range .}}{{range .Items}}{{.Spec.BGP.IPv4Address}} {{config \"asnumber\"}} {{index .Labels \"rack\"}}{{end}}{{end}}",
            "192.168.0.1/24 64512 b",
        ),
        (
            &["tier", "default"],
            "{{range .}}{{.Spec.Order}} {{printf \"%-5s|\" .Name}}{{end}}",
            "1e+06 default|",
        ),
        (&["ippool", "a"], "{{range .}}{{if .Spec.Disabled}}off{{else}}on{{end}}{{end}}", "on"),
    ] {
        let output = format!("go-template={template}");
        let arguments = [&["get"], arguments, &["-o", &output]].concat();
        assert_eq!(fixture.run(&arguments), ok(out), "{arguments:?}");
    }
    for (arguments, template, out) in [
        (
            &["ippool", "a"][..],
            "{{range .}}{{.ObjectMeta.Labels.x}} {{.Labels}} {{.Status}}{{end}}",
            "<no value> map[] <nil>",
        ),
        (
            &["ippool", "a"],
            "{{range .}}{{if .Status}}y{{else}}n{{end}} {{len .Spec.AllowedUses}}{{end}}",
            "n 2",
        ),
        (
            &["ippool", "a"],
            "{{range .}}{{.Spec.AssignmentMode}} {{.Spec.DisableBGPExport}}{{end}}",
            "Automatic false",
        ),
        (&["node", "n1"], "{{range .}}{{.Spec.BGP.ASNumber}} {{.Spec.Wireguard}}{{end}}", "<nil> <nil>"),
        (
            &["node", "n1"],
            "{{range $at, $it := .}}{{$at}} {{$it.Name}} {{$it.Spec.BGP.IPv4Address}}{{end}}",
            "0 n1 192.168.0.1/24",
        ),
    ] {
        let output = format!("go-template={template}");
        let arguments = [&["get"], arguments, &["-o", &output]].concat();
        assert_eq!(fixture.run(&arguments), ok(out), "{arguments:?}");
    }
    for (arguments, template, err) in [
        (
            &["ippool", "a"][..],
            "{{range .}}{{.Foo}}{{end}}",
            "template: get:1:13: executing \"get\" at <.Foo>: can't evaluate field Foo in type runtime.Object",
        ),
        (
            &["ippool", "a"],
            "{{range .}}\n {{.Spec.Foo}}{{end}}",
            "template: get:2:8: executing \"get\" at <.Spec.Foo>: can't evaluate field Foo in type v3.IPPoolSpec",
        ),
        (
            &["ippool"],
            "{{range .}}{{range .Items}}{{.Foo}}{{end}}{{end}}",
            "template: get:1:29: executing \"get\" at <.Foo>: can't evaluate field Foo in type v3.IPPool",
        ),
        (
            &["ippool"],
            "{{.Items}}",
            "template: get:1:2: executing \"get\" at <.Items>: can't evaluate field Items in type []runtime.Object",
        ),
        (
            &["node", "n1"],
            "{{range .}}{{.Spec.Wireguard.InterfaceIPv4Address}}{{end}}",
            "template: get:1:18: executing \"get\" at <.Spec.Wireguard.InterfaceIPv4Address>: nil pointer evaluating *internalapi.NodeWireguardSpec.InterfaceIPv4Address",
        ),
        (
            &["ippool", "a"],
            "{{define \"x\"}}{{.Foo}}{{end}}{{range .}}{{template \"x\" .Spec}}{{end}}",
            "template: get:1:16: executing \"x\" at <.Foo>: can't evaluate field Foo in type v3.IPPoolSpec",
        ),
        (&["ippool"], "\n{{frobnicate .}}", "template: get:2: function \"frobnicate\" not defined"),
    ] {
        let output = format!("go-template={template}");
        let arguments = [&["get"], arguments, &["-o", &output]].concat();
        assert_eq!(fixture.run(&arguments), failed("", &format!("{err}\n")), "{arguments:?}");
    }
    fixture.file("names.tmpl", "{{range .}}{{.Name}}{{end}}");
    assert_eq!(fixture.run(&["get", "ippool", "a", "-o", "go-template-file=names.tmpl"]), ok("a"));
    assert_eq!(
        fixture.run(&["get", "ippool", "a", "-o", "go-template-file=none.tmpl"]),
        failed("", "open none.tmpl: no such file or directory\n")
    );
    let broken = fixture.run(&["get", "ippool", "a", "-o", "go-template={{range .}}"]);
    assert_eq!((broken.out.as_str(), broken.code), ("", Some(1)));
    assert!(broken.err.contains("unexpected EOF"), "{broken:?}");
}

crate::fixture::on_both! {
    templates_see_the_fields_of_calicos_go_types
}
