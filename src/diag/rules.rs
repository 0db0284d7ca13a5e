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
    CONFIG_NOT_FOUND, "config-not-found", Error, "there is no werf.yaml";
    IGNORED_YAML, "ignored-yaml", Error, "text after the end of a YAML document would be ignored";
    UNKNOWN_DOCUMENT, "unknown-document", Error, "a document of werf.yaml is neither meta nor an image";
    META_MISSING, "meta-missing", Error, "werf.yaml has no meta document";
    META_TWICE, "meta-twice", Error, "werf.yaml has two meta documents";
    CONFIG_VERSION, "config-version", Error, "the configuration version is not supported";
    UNKNOWN_KEY, "unknown-key", Error, "a section has a key that it does not know";
    MISSING_KEY, "missing-key", Error, "a section lacks a key that it needs";
    CONFLICTING_KEYS, "conflicting-keys", Error, "a section has keys that exclude each other";
    WRONG_TYPE, "wrong-type", Error, "a value has a type that its key does not take";
    INVALID_VALUE, "invalid-value", Error, "a value is not one of those that its key takes";
    INVALID_NAME, "invalid-name", Error, "a name has a form that is not allowed";
    INVALID_PATH, "invalid-path", Error, "a path is absolute, relative or leads out where it must not";
    INVALID_PATTERN, "invalid-pattern", Error, "a path pattern or regular expression is malformed";
    DUPLICATE_NAME, "duplicate-name", Error, "a name is given twice";
    NAMELESS_IMAGE, "nameless-image", Error, "an image without a name stands beside other images";
    UNKNOWN_IMAGE, "unknown-image", Error, "an image is named that werf.yaml does not have";
    NEARLY_AN_IMAGE, "nearly-an-image", Warning, "an outside image name is nearly the name of an image of werf.yaml";
    UNTAGGED_BASE, "untagged-base", Warning, "an outside base image has neither tag nor digest";
    IMAGE_CYCLE, "image-cycle", Error, "images need each other in a circle";
    PLATFORM_MISSING, "platform-missing", Error, "an image is needed for a platform that it is not built for";
    OVERLAPPING_PATHS, "overlapping-paths", Error, "two entries write to the same place of an image";
    UNCOMMITTED_FILE, "uncommitted-file", Error, "a file has changes that are not committed";
    UNSTABLE_FUNCTION, "unstable-function", Warning, "werf.yaml calls a function whose result is not given by the commit";
    NOT_PERMITTED, "not-permitted", Error, "a directive needs a rule in werf-giterminism.yaml";
    DEPRECATED_KEY, "deprecated-key", Warning, "a key is deprecated";
    INEFFECTIVE_KEY, "ineffective-key", Warning, "a key has no effect where it stands";
    UNQUOTED_VALUE, "unquoted-value", Warning, "a value without quotes is not what it looks like";
    NO_SUCH_IMAGE, "no-such-image", Error, "a pattern on the command line selects no image";
    DEPLOY_NAME, "deploy-name", Error, "the release name or namespace is not valid";
    INCLUDE_LOCK, "include-lock", Error, "werf-includes.lock is missing or does not fit werf-includes.yaml";
    INCLUDE_EMPTY, "include-empty", Error, "an include matches no file of its repository";
    REMOTE_REPOSITORY, "remote-repository", Error, "another git repository cannot be read";
    // chart
    CHART_METADATA, "chart-metadata", Error, "a Chart.yaml is missing or wrong";
    CHART_UNKNOWN_KEY, "chart-unknown-key", Warning, "a Chart.yaml has a key that Helm does not know";
    CHART_FILES, "chart-files", Error, "the files of a chart cannot be taken";
    HELMIGNORE_NEGATION, "helmignore-negation", Warning, "a pattern with `!` in a .helmignore ignores all that it does not match";
    CHART_ARCHIVE, "chart-archive", Error, "a chart archive is damaged or unsafe";
    BUNDLE_CONTENT, "bundle-content", Error, "a chart cannot become a bundle, or is none";
    BUNDLE_IMAGE, "bundle-image", Error, "an image of a bundle is not in its repository";
    CHART_DEPENDENCY, "chart-dependency", Error, "a declared dependency is missing";
    CHART_LOCK, "chart-lock", Error, "the lock of the dependencies does not fit what is declared";
    CHART_DEPENDENCY_SWITCH, "chart-dependency-switch", Warning, "a tag, condition or import of a dependency has no use";
    VALUES_CONFLICT, "values-conflict", Warning, "a table meets another kind of value in two layers";
    LIST_ITEM_LOST, "list-item-lost", Warning, "an item of a list that `--set` sets takes the place of the chart's whole list";
    AMBIGUOUS_NULL, "ambiguous-null", Note, "a null takes a value away with some profiles of nulls, and not with others";
    VALUES_SCHEMA, "values-schema", Error, "a values.schema.json cannot be used";
    VALUES_INVALID, "values-invalid", Error, "values do not meet the schema of their chart";
    MANIFEST_YAML, "manifest-yaml", Error, "a rendered manifest is not the YAML of an object";
    MANIFEST_INCOMPLETE, "manifest-incomplete", Error, "a rendered manifest has no version, kind or name";
    MANIFEST_DUPLICATE, "manifest-duplicate", Error, "two manifests declare one resource";
    MANIFEST_HOOK, "manifest-hook", Error, "a hook names an event that does not exist";
    CHART_LIBRARY, "chart-library", Error, "a library chart is deployed by itself";
    CHART_KUBE_VERSION, "chart-kube-version", Error, "a chart needs another version of Kubernetes";
    TEMPLATE_NOT_FOUND, "template-not-found", Error, "a template that shall be shown does not exist";
    VALUES_FILE, "values-file", Error, "a file of values is no mapping";
    VALUES_ARGUMENT, "values-argument", Error, "a `--set` argument cannot be read";
    VALUE_NOT_READ, "value-not-read", Note, "no template reads a key of a chart's values.yaml";
    OVERRIDE_NOT_READ, "override-not-read", Warning, "no template reads a key that a file of values or `--set` gives";
    UNDEFINED_VALUE, "undefined-value", Warning, "a template reads a value that no file of values defines";
    ALWAYS_DEFAULT, "always-default", Note, "a value with a default is set by no file of values";
    UNSTABLE_MANIFEST, "unstable-manifest", Warning, "a manifest holds a result that differs from run to run";
    SCIENTIFIC_NUMBER, "scientific-number", Warning, "a number is printed as `1e+06`";
    CLUSTER_DEPENDENT, "cluster-dependent", Note, "a template asks the cluster or the network while it is rendered";
    METADATA_ARGUMENT, "metadata-argument", Error, "an annotation or label to be added cannot be read";
    VALUES_ARGUMENT_EMPTY_KEY, "values-argument-empty-key", Warning, "a `--set` argument sets nothing";
    SECRET_KEY, "secret-key", Error, "secret values need a key, and there is none";
    SECRET_VALUE, "secret-value", Error, "a secret value or file cannot be decrypted";
    SECRET_OVERRIDES_VALUE, "secret-overrides-value", Warning, "a secret value takes the place of a value that the user gives";
    // analysis
    UNKNOWN_RULE, "unknown-rule", Warning, "a rule is named that does not exist";
    UNUSED_SUPPRESSION, "unused-suppression", Note, "a comment that ignores findings has no use or no reason";
    // stage
    COPY_SOURCE_NOT_FOUND, "copy-source-not-found", Error, "a COPY or ADD names a file that the build context does not have";
    COPY_SOURCE_MATCHES_NOTHING, "copy-source-matches-nothing", Warning, "a wildcard of a COPY or ADD matches no file";
    COPY_DESTINATION, "copy-destination", Error, "a COPY or ADD of several sources has a destination that is no directory";
    MALFORMED_PATTERN, "malformed-pattern", Error, "a pattern over paths cannot be read";
    GIT_MAPPING_EMPTY, "git-mapping-empty", Error, "a git mapping matches no committed file";
    NOT_YET, "not-yet", Error, "the configuration asks for something that does not work yet";
    NEEDS_COMMANDS, "needs-commands", Warning, "an image needs a builder that runs commands";
    BASE_NOT_IN_STORE, "base-not-in-store", Error, "a base image is not in the stage store";
    UNDECLARED_TRIGGERS, "undeclared-triggers", Error, "a base has triggers that the Dockerfile does not declare";
    REMOTE_CONTENT, "remote-content", Warning, "the content behind an address that ADD fetches is not known";
    INDEX_NOT_STORED, "index-not-stored", Error, "the stage store cannot hold an image for several platforms";
    DEPLOY_ANNOTATION, "deploy-annotation", Error, "an annotation of a deploy has a value that means nothing";
    UNKNOWN_ANNOTATION, "unknown-annotation", Warning, "an annotation of a deploy is none that anything knows";
    ORDER_NOT_KEPT, "order-not-kept", Warning, "an annotation of a deploy and a field contradict each other";
    RESOURCE_REFUSED, "resource-refused", Error, "a resource cannot be put into the cluster";
    RESOURCE_BLOCKED, "resource-blocked", Error, "something has to be decided before a resource can be put into the cluster";
    NO_DRY_RUN, "no-dry-run", Warning, "the API server cannot say what a resource would become";
    SERVER_WARNING, "server-warning", Warning, "the API server warns of a resource";
    WRITE_FORBIDDEN, "write-forbidden", Warning, "the account may not write a resource of the plan";
    SUBMODULE_STATE, "submodule-state", Error, "files of a submodule cannot be taken as the commit says";
    LFS_POINTER, "lfs-pointer", Error, "the content of a file is kept by Git LFS and is not here";
    REPOSITORY_UNREADABLE, "repository-unreadable", Error, "an object of the repository cannot be read";
    INSTRUCTION_ARGUMENT, "instruction-argument", Error, "an argument of a Dockerfile instruction is not valid";
    // analysis
    API_NOT_SERVED, "api-not-served", Error, "a manifest has an API version that the version of Kubernetes does not serve";
    API_DEPRECATED, "api-deprecated", Warning, "a manifest has an API version that is deprecated";
    MANIFEST_UNKNOWN_KIND, "manifest-unknown-kind", Error, "a manifest has a kind that its API group does not have";
    MANIFEST_UNKNOWN_FIELD, "manifest-unknown-field", Error, "a manifest has a field that its kind does not have";
    MANIFEST_WRONG_TYPE, "manifest-wrong-type", Error, "a value of a manifest has a type that its field does not take";
    MANIFEST_MISSING_FIELD, "manifest-missing-field", Error, "a manifest lacks a field that its kind needs";
    MANIFEST_INVALID_VALUE, "manifest-invalid-value", Error, "a value of a manifest has a form that its field does not take";
    MANIFEST_CONFLICT, "manifest-conflict", Error, "fields of a manifest exclude each other";
    MANIFEST_SELECTOR, "manifest-selector", Error, "the selector of a workload does not match the labels of its pods";
    MANIFEST_TWIN, "manifest-twin", Error, "a list of a manifest names the same thing twice";
    MANIFEST_REFERENCE, "manifest-reference", Note, "a manifest needs a resource that is not part of the release";
    SERVICE_WITHOUT_PODS, "service-without-pods", Warning, "a Service selects no pods of its release";
    HOST_ACCESS, "host-access", Warning, "a pod has access to its host";
    BROAD_RIGHTS, "broad-rights", Warning, "a role grants more than it names";
    FLOATING_IMAGE, "floating-image", Warning, "a container has an image whose content may change";
    NO_RESOURCES, "no-resources", Note, "containers have neither requests nor limits of resources";
    NO_READINESS_PROBE, "no-readiness-probe", Note, "a container has a liveness probe and no readiness probe";
    GENERATED_NAME, "generated-name", Warning, "a manifest leaves its name to the API server";
    UNUSED_IMAGE, "unused-image", Note, "nothing uses an image of werf.yaml";
    UNUSED_HELPER, "unused-helper", Note, "nothing includes a named template";
    UNUSED_STAGE, "unused-stage", Warning, "no image needs a stage of a Dockerfile";
    SECRET_IN_IMAGE, "secret-in-image", Warning, "a secret would stay in an image";
    ADD_INSTEAD_OF_COPY, "add-instead-of-copy", Note, "an ADD does what COPY is for";
    ROOT_USER, "root-user", Note, "an image runs as root";
    // plan
}
