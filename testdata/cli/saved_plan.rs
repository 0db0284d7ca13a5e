//! Saved plans that cannot be used say why.

use super::Sandbox;

/// The public JSON of a plan; a saved one has a checksum too.
const PUBLIC: &str = include_str!("../report/plan.json");

#[test]
fn a_file_that_is_no_saved_plan_says_so() {
    let sandbox = Sandbox::new();
    sandbox.write("other.json", "{\"kind\": \"Deployment\"}").write("cut.json", &PUBLIC[..PUBLIC.len() / 2]);
    sandbox.write("public.json", PUBLIC).write("newer.json", &PUBLIC.replace("\"1.0\"", "\"2.0\""));
    let told = |file: &str| {
        let ran = sandbox.run(&["show", file]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
        ran.err
    };
    assert!(told("missing.json").contains("there is no saved plan"));
    assert!(told("other.json").contains("it is not a saved plan"));
    assert!(told("public.json").contains("it is not a saved plan"));
    assert!(told("cut.json").contains("it is cut off"));
    assert!(told("newer.json").contains("it has format version 2.0"));
}
