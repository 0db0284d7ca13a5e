//! The rule table: every kind of fault that a diagnostic can speak of, declared once.
//!
//! A rule's long text is `docs/rules/NAME.md`; a test fails when the page is missing. Add a line to the
//! group of the room that finds the fault; names describe the fault, not the cure.

use super::rule_table::rules;

rules! {
    // source
    FILE_NOT_FOUND, "file-not-found", Error, "a file that the configuration names does not exist";
    // syntax: Go templates
    TEMPLATE_SYNTAX, "template-syntax", Error, "a template cannot be parsed";
    // syntax: YAML
    YAML_SYNTAX, "yaml-syntax", Error, "a YAML document cannot be parsed";
    YAML_DUPLICATE_KEY, "duplicate-key", Warning, "a mapping sets the same key twice";
    // syntax: Dockerfile
    DOCKERFILE_SYNTAX, "dockerfile-syntax", Error, "a Dockerfile cannot be parsed";
    UNKNOWN_INSTRUCTION, "unknown-instruction", Error, "a Dockerfile has a keyword that is no instruction";
    UNKNOWN_STAGE, "unknown-stage", Error, "a stage is named that the Dockerfile does not have";
    NEARLY_A_STAGE, "nearly-a-stage", Warning, "an image name is nearly the name of a stage";
    BLANK_CONTINUATION, "blank-continuation", Warning, "a blank line stands inside a Dockerfile instruction";
    EXEC_FORM_NOT_JSON, "exec-form-not-json", Warning, "a command looks like the exec form but is not JSON";
    // eval
    TEMPLATE_ERROR, "template-error", Error, "a template fails while it is rendered";
    JSONNET_ERROR, "jsonnet-error", Error, "a Jsonnet file cannot be evaluated";
    JSONNET_TRACE, "jsonnet-trace", Note, "a Jsonnet file calls `std.trace`";
    // config
    UNKNOWN_KEY, "unknown-key", Error, "a section has a key that it does not know";
    // chart
    CHART_METADATA, "chart-metadata", Error, "a Chart.yaml is missing or wrong";
    CHART_UNKNOWN_KEY, "chart-unknown-key", Warning, "a Chart.yaml has a key that Helm does not know";
    CHART_FILES, "chart-files", Error, "the files of a chart cannot be taken";
    CHART_ARCHIVE, "chart-archive", Error, "a chart archive is damaged or unsafe";
    VALUES_FILE, "values-file", Error, "a file of values is no mapping";
    VALUES_ARGUMENT, "values-argument", Error, "a `--set` argument cannot be read";
    VALUES_ARGUMENT_EMPTY_KEY, "values-argument-empty-key", Warning, "a `--set` argument sets nothing";
    // stage
    // plan
}
