use lightcl_datafusion::datafusion::error::Result;
use lightcl_datafusion::datafusion::prelude::{CsvReadOptions, SessionContext};
use lightcl_datafusion::{Options, register};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let context = SessionContext::new();
    let models = [("parts".to_owned(), "out/parts".into())].into();
    register(&context, Options { models })?;
    context.register_csv("parts", "parts.csv", CsvReadOptions::new()).await?;
    let sure = context
        .sql(
            "SELECT kind, lightcl_predict('parts', length, weight) AS predicted, count(*) AS parts
             FROM parts
             WHERE array_max(lightcl_proba('parts', length, weight)) > 0.9
             GROUP BY kind, predicted
             ORDER BY kind",
        )
        .await?;
    sure.show().await
}
