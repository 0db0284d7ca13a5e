//! The plan as public JSON, and the schema of that JSON.

use crate::plan::Plan;

/// Returns the public JSON of a plan: pretty printed, in the order of its declaration, with a newline at the end.
pub fn plan_json(plan: &Plan) -> String {
    super::pretty_json(plan)
}

/// Returns the JSON Schema of [`plan_json`].
pub fn plan_schema() -> String {
    let mut schema = schemars::schema_for!(Plan);
    schema.insert("title".into(), "Stagewright plan".into());
    super::pretty_json(&schema)
}

#[cfg(test)]
mod tests {
    use super::super::{fixture, golden};
    use super::*;

    #[test]
    fn the_committed_schema_is_current() {
        golden::check_at("docs/reference/plan.schema.json", &plan_schema());
    }

    #[test]
    fn a_plan_follows_its_schema_and_reads_back_equal() {
        let json = plan_json(&fixture::shop());
        golden::check("plan.json", &json);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let schema: serde_json::Value = serde_json::from_str(&plan_schema()).unwrap();
        let mut compiler = boon::Compiler::new();
        compiler.add_resource("plan.json", schema).unwrap();
        let mut schemas = boon::Schemas::new();
        let index = compiler.compile("plan.json", &mut schemas).unwrap();
        schemas.validate(&value, index).unwrap_or_else(|e| panic!("{e}"));
        let read: Plan = serde_json::from_str(&json).unwrap();
        assert_eq!(plan_json(&read), json);
    }
}
