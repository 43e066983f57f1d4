//! What must not be shown, and which properties of the client are not the user's to set.

/// Whether the value of a property of librdkafka is secret, by its name.
pub fn is_secret(property: &str) -> bool {
    let name = property.to_lowercase();
    ["password", "secret", "passphrase"].iter().any(|ending| name.ends_with(ending))
        || ["ssl.key.pem", "ssl_key", "ssl.key"].contains(&name.as_str())
        || name.ends_with("private.key.pem")
        // Java's way to give user and password, in one text.
        || name.contains("jaas")
}

/// What to do instead of setting a property that the job sets itself.
pub(super) fn instead_of(property: &str) -> Option<String> {
    let key = |key: &str| Some(format!("set {key} instead"));
    match property {
        "bootstrap.servers" | "metadata.broker.list" => key("brokers"),
        "group.id" => key("source.group"),
        "group.instance.id" => key("source.instance"),
        "auto.offset.reset" => key("source.start and source.or_else"),
        "transactional.id" => key("sink.transactional_prefix"),
        "enable.auto.commit" | "auto.commit.enable" | "auto.commit.interval.ms" | "enable.auto.offset.store" => {
            Some("the job commits offsets together with what it made of the records; leave it out".to_owned())
        }
        "isolation.level" => {
            Some("the job reads committed records only, or exactly-once would not hold; leave it out".to_owned())
        }
        "partition.assignment.strategy" | "group.protocol" | "group.protocol.type" | "group.remote.assignor" => Some(
            "the job hands partitions over with their state, which only cooperative-sticky allows; leave it out"
                .to_owned(),
        ),
        "enable.idempotence" | "enable.gapless.guarantee" | "acks" | "request.required.acks" => {
            Some("sink.delivery decides it; leave it out".to_owned())
        }
        "allow.auto.create.topics" => {
            Some("topics are made by `lightcl kafka topics --create`, with the right settings; leave it out".to_owned())
        }
        "check.crcs" | "enable.partition.eof" => Some("the job needs it as it is; leave it out".to_owned()),
        "oauthbearer_token_refresh_cb" => key("oauth_token_file"),
        "opaque" | "default_topic_conf" => Some("only programs can set it; leave it out".to_owned()),
        name if name.ends_with("_cb") => Some("only programs can set it; leave it out".to_owned()),
        _ => None,
    }
}

/// Whether a text with a setting (`--set` and what follows) names something secret.
pub(super) fn names_secret(text: &str) -> bool {
    let text = text.to_lowercase();
    ["password", "secret", "passphrase", "key.pem", "private", "jaas", "token"].iter().any(|word| text.contains(word))
}

/// Whether the line at `offset` of a pipeline file may hold a secret, so that a mistake there is told without the line.
pub(super) fn line_may_hold_secret(text: &str, offset: usize) -> bool {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let (before, after) = text.split_at(offset);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let end = after.find('\n').map_or(text.len(), |newline| offset + newline);
    let header = before.lines().rev().find(|line| line.trim_start().starts_with('[')).unwrap_or_default();
    // Within a text of many lines, such as a key in PEM, the line itself gives no hint.
    let in_long_text = ["\"\"\"", "'''"].iter().any(|quotes| before.matches(quotes).count() % 2 == 1);
    in_long_text || names_secret(&text[start..end]) || names_secret(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for secret in [
            "sasl.password",
            "ssl.key.password",
            "ssl.key.pem",
            "ssl.keystore.password",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.client.credentials.client.secret",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.private.key.pem",
            "registry.password",
            "sasl.jaas.config",
        ] {
            assert!(is_secret(secret), "{secret}");
        }
        for open in ["sasl.username", "ssl.key.location", "ssl.certificate.pem", "security.protocol"] {
            assert!(!is_secret(open), "{open}");
        }
    }

    #[test]
    fn lines_that_may_hold_secrets_are_found_wherever_they_stand() {
        let text = "[source.client]\nx = 1\n\"ssl.certificate.pem\" = \"\"\"\nabc\n\"\"\"\n[source.secrets]\ny = 2\n";
        for (marked, secret) in [("x = 1", false), ("abc", true), ("y = 2", true)] {
            assert_eq!(line_may_hold_secret(text, text.find(marked).unwrap()), secret, "{marked}");
        }
        assert!(line_may_hold_secret("a = { \"sasl.password\" = 1 }", 3));
        assert!(!line_may_hold_secret("", 9));
    }
}
