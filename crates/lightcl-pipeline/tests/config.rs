//! The pipeline file: its schema, its defaults, and what is said about mistakes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use lightcl_boundary::{Alternate, CalendarConfig, CalendarPeriod, DayOfWeek};
use lightcl_core::ErrorKind;
use lightcl_learner::Backbone;
use lightcl_pipeline::config::settings::{Feature, FeatureKind, PredictionFormat};
use lightcl_pipeline::config::{Explained, Overrides, Pipeline, difference, pipeline_schema};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const MINIMAL: &str =
    "[source]\ntype = \"csv\"\npath = \"a.csv\"\n[sample]\nfeatures = [\"x\", \"y\"]\nlabel = \"z\"\n";

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn set(arguments: &[&str]) -> Overrides {
    Overrides { set: arguments.iter().map(|&argument| argument.to_owned()).collect(), ..Overrides::default() }
}

fn parse(more: &str, overrides: &Overrides) -> Pipeline {
    Pipeline::parse(&format!("{MINIMAL}{more}"), "shop.toml", overrides).unwrap_or_else(|error| panic!("{error}"))
}

/// What is said about a mistake in lines after the minimal pipeline, which has six.
fn mistake(more: &str, overrides: &Overrides) -> String {
    let error = Pipeline::parse(&format!("{MINIMAL}{more}"), "shop.toml", overrides).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User, "{error}");
    error.message().to_owned()
}

#[test]
fn the_schema_of_the_pipeline_file_is_up_to_date() {
    let path = top().join("schemas/pipeline.schema.json");
    let schema = pipeline_schema();
    if std::env::var_os("LIGHTCL_UPDATE_SCHEMAS").is_some() {
        fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&schema).unwrap())).unwrap();
    }
    let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(
        written == schema,
        "schemas/pipeline.schema.json is stale: run LIGHTCL_UPDATE_SCHEMAS=1 cargo test -p lightcl-pipeline --test config"
    );
}

#[test]
fn every_key_of_the_schema_is_described() {
    fn check(value: &Value, place: &str) {
        for (name, schema) in value["properties"].as_object().into_iter().flatten() {
            assert!(schema["description"].is_string(), "{place}.{name} has no description");
        }
        for (name, schema) in value["$defs"].as_object().into_iter().flatten() {
            check(schema, name);
        }
    }
    check(&pipeline_schema(), "pipeline");
}

#[test]
fn defaults_are_those_of_the_parts() {
    let pipeline = parse("", &Overrides::default());
    let settings = pipeline.settings();
    assert_eq!(settings.learner_config(), lightcl_learner::LearnerConfig::default());
    assert_eq!(settings.detector_configs(), lightcl_boundary::DetectorConfigs::default());
    let expected = lightcl_stream::OperatorConfig::new("shop");
    let operator = pipeline.operator_config().unwrap();
    assert_eq!(lightcl_stream::OperatorConfig { config_sha256: String::new(), ..operator }, expected);
    assert_eq!(
        settings.source_config(),
        Some(lightcl_pipeline::source::FileSourceConfig::new(lightcl_pipeline::source::FileKind::Csv, "a.csv"))
    );
    assert_eq!(settings.encoder_config(), lightcl_stream::encode::EncoderConfig::new(["x", "y"], "z"));
    assert_eq!(settings.boundary.detect, ["auto"]);
    assert_eq!(settings.predictions.format, PredictionFormat::None);
    assert_eq!(pipeline.output_dir(), Path::new("lightcl-out/shop"));
    assert!(pipeline.notes().is_empty(), "{:?}", pipeline.notes());
    assert!(settings.weights().unwrap().is_none() && settings.evaluation_config().is_none());
}

#[test]
fn the_effective_settings_are_a_pipeline_that_means_the_same() {
    let pipeline = parse(
        "[boundary]\ntask_column = \"t\"\nevery_samples = 9\n[evaluate]\npath = \"b.csv\"\n",
        &Overrides::default(),
    );
    let mut effective = pipeline.effective().unwrap();
    fn without_nulls(value: &mut Value) {
        if let Value::Object(object) = value {
            object.retain(|_, inner| !inner.is_null());
            object.values_mut().for_each(without_nulls);
        }
    }
    without_nulls(&mut effective);
    let text = toml::to_string(&effective).unwrap();
    let again = Pipeline::parse(&text, "other.toml", &Overrides::default()).unwrap();
    assert_eq!(again.settings(), pipeline.settings());
    assert_eq!(again.config_sha256().unwrap(), pipeline.config_sha256().unwrap());
}

#[test]
fn every_pipeline_of_the_repository_is_right() {
    let mut found = 0;
    for entry in fs::read_dir(top().join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            Pipeline::load(&path, &Overrides::default()).unwrap_or_else(|error| panic!("{error}"));
            found += 1;
        }
    }
    assert!(found >= 3);
}

#[test]
fn a_misspelt_key_is_shown_where_it_stands_with_the_nearest_right_name() {
    assert_eq!(
        mistake("[learner]\nlerning_rate = 0.1\n", &Overrides::default()),
        "shop.toml:8:1: unknown key 'lerning_rate' in [learner]; did you mean 'learning_rate'?\n   |\n 8 | \
         lerning_rate = 0.1\n   | ^^^^^^^^^^^^"
    );
    assert_eq!(
        mistake("[lerner]\nseed = 1\n", &Overrides::default()),
        "shop.toml:7:2: unknown key 'lerner' at the top; did you mean 'learner'?\n   |\n 7 | [lerner]\n   |  ^^^^^^"
    );
    assert!(
        mistake("[learner.memory]\nrtio = 1.0\n", &Overrides::default())
            .contains("in [learner.memory]; did you mean 'ratio'?")
    );
    assert!(mistake("[learner]\nratio = 0.5\n", &Overrides::default()).contains("there is learner.memory.ratio"));
    assert!(
        mistake("[snapshot]\ntopic = 1\n", &Overrides::default())
            .contains("there are at_end, every_samples, on_boundary")
    );
}

#[test]
fn wrong_types_choices_and_ranges_point_at_the_value() {
    for (more, place, said) in [
        ("[learner]\nseed = \"one\"\n", "8:8", "learner.seed must be a whole number, not the text \"one\""),
        ("[learner]\npasses = 1.5\n", "8:10", "learner.passes must be a whole number, not 1.5"),
        ("[learner]\npasses = 0\n", "8:10", "learner.passes must be at least 1 and at most 10000, not 0"),
        ("[learner]\nseed = -1\n", "8:8", "learner.seed must be at least 0, not -1"),
        ("[learner]\nlearning_rate = 0\n", "8:17", "learner.learning_rate must be above 0, not 0"),
        ("[learner]\nlearning_rate = nan\n", "8:17", "must be a number, not a number that is not finite"),
        ("[learner]\nmethod = \"lightcls\"\n", "8:10", "did you mean \"lightcl\"? There are \"lightcl\", \"sgd\""),
        ("[learner]\nhead = \"analitic\"\n", "8:8", "did you mean \"analytic\"?"),
        ("[learner.analytic]\nwidth = true\n", "8:9", "must be one of \"auto\" or a whole number"),
        ("[learner]\nhidden = [4, \"4\", 4]\n", "8:14", "learner.hidden.1 must be a whole number"),
        ("[learner]\nhidden = []\n", "8:10", "learner.hidden must have at least 1 entry"),
        ("[learner]\nsparse = 1\n", "8:10", "learner.sparse must be true or false, not 1"),
        ("[learner.memory]\nratio = 0\n", "8:9", "learner.memory.ratio must be above 0 and at most 1"),
        ("[boundary]\ndetect = \"eror\"\n", "8:10", "boundary.detect cannot be \"eror\"; did you mean \"error\"?"),
        ("[boundary]\ndetect = 3\n", "8:10", "boundary.detect must be one of \"auto\", \"new_classes\", \"error\""),
        ("[boundary]\ndetect = [\"typo\"]\n", "8:11", "\"task_column\", \"every\", \"calendar\""),
        ("[boundary.auto]\nsensitivity = 100\n", "8:15", "boundary.auto.sensitivity"),
        ("[boundary.auto]\nsignals = [\"imput\"]\n", "8:12", "did you mean \"input\"?"),
        ("[boundary]\ndetect = [\"error\", \"error\"]\n", "8:20", "boundary.detect names \"error\" twice"),
        ("[source.csv]\ndelimiter = \";;\"\n", "8:13", "source.csv.delimiter must have 1 character"),
        ("[evaluate]\npath = 1979-05-27\n", "8:8", "evaluate.path must be text in quotes, not a date or time"),
        ("[output]\ndir = \"\"\n", "8:7", "output.dir must not be empty"),
    ] {
        let message = mistake(more, &Overrides::default());
        assert!(message.starts_with(&format!("shop.toml:{place}: ")) && message.contains(said), "{more}: {message}");
    }
}

#[test]
fn a_type_of_source_that_does_not_exist_is_refused_with_the_list() {
    let text = MINIMAL.replace("csv\"\npath", "pulsar\"\npath");
    let message = Pipeline::parse(&text, "p.toml", &Overrides::default()).unwrap_err().to_string();
    assert!(
        message.starts_with(
            "p.toml:2:8: source.type cannot be \"pulsar\"; there are \"arrow\", \"parquet\", \"csv\", \"jsonl\", \"kafka\""
        ),
        "{message}"
    );
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let message = mistake("[learner]\nseeed = 1\npasses = 0\n", &set(&["predictions.format=xml"]));
    assert!(message.starts_with("3 mistakes in the configuration\nshop.toml:8:1: unknown key 'seeed'"), "{message}");
    assert!(message.contains("\nshop.toml:9:10: learner.passes"), "{message}");
    assert!(message.ends_with("--set predictions.format=xml: predictions.format cannot be \"xml\"; there are \"none\", \"parquet\", \"arrow\", \"jsonl\""), "{message}");
}

#[test]
fn missing_sections_and_keys_are_named() {
    let said = |text: &str| Pipeline::parse(text, "p.toml", &Overrides::default()).unwrap_err().message().to_owned();
    assert_eq!(
        said(""),
        "2 mistakes in the configuration\np.toml: the section [source] is missing\np.toml: the section [sample] is missing"
    );
    let message = said("[source]\ntype = \"csv\"\n[sample]\nfeatures = [{ as = \"image\" }]\nlabel = \"z\"\n");
    assert!(message.contains("p.toml:1:1: [source] lacks the key 'path'"), "{message}");
    assert!(message.contains("p.toml:4:13: sample.features.0 lacks the key 'column'"), "{message}");
}

#[test]
fn text_that_is_no_toml_points_at_the_place() {
    let message = mistake("[learner\nseed = 1\n", &Overrides::default());
    assert!(message.starts_with("shop.toml:7:"), "{message}");
    assert!(mistake("[source]\n", &Overrides::default()).contains("shop.toml:7:2: not TOML: duplicate key"));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (more, place, said) in [
        (
            "[learner]\nfrozen = 4\n",
            "8:10",
            "learner.frozen (4) must be less than the number of layers in learner.hidden (4)",
        ),
        ("[learner]\nhidden = [8]\n", "8:10", "learner.frozen (2) must be less than"),
        (
            "[learner]\nbatch_samples = 300\n",
            "8:17",
            "learner.batch_samples (300) cannot be more than learner.window_samples (256)",
        ),
        ("[learner]\nwindow_samples = 8\n", "8:18", "learner.batch_samples (32) cannot be more than"),
        ("[learner]\nweights = \"none.pt\"\n", "8:11", "there is no file none.pt to take weights from"),
        ("[learner]\nweights = \"a.bin\"\n", "8:11", "must be a .safetensors, .pt or .pth file"),
        ("[learner.weight_names]\nstem = \"conv1\"\n", "7:1", "needs a file: set learner.weights"),
        ("[boundary]\ndetect = [\"task_column\"]\n", "8:10", "needs the column's name: set boundary.task_column"),
        ("[boundary]\ndetect = [\"every\"]\n", "8:10", "set boundary.every_samples"),
        ("[boundary.new_classes]\nconfirm_samples = 20\n", "8:19", "must lie between 1 and confirm_window"),
        ("[evaluate]\npath = \"-\"\n", "8:8", "cannot be standard input"),
        ("[source.csv]\ndelimiter = \"é\"\n", "8:13", "must be one ASCII character"),
        ("[source.csv]\ndelimiter = \"\\\"\"\n", "8:13", "must differ"),
    ] {
        let message = mistake(more, &Overrides::default());
        assert!(message.starts_with(&format!("shop.toml:{place}: ")) && message.contains(said), "{more}: {message}");
    }
    let both = MINIMAL.replace("label", "task = \"a\"\nlabel") + "[boundary]\ntask_column = \"b\"\n";
    let message = Pipeline::parse(&both, "p.toml", &Overrides::default()).unwrap_err().to_string();
    assert!(message.starts_with("p.toml:9:15: boundary.task_column names 'b' but sample.task names 'a'"), "{message}");
}

/// Each change detector on a signal: its section, a key of its own with a value that is not the default, and one out of
/// range.
const ON_A_SIGNAL: [(&str, &str, &str); 9] = [
    ("adwin", "clock = 8", "clock = 0"),
    ("page_hinkley", "mode = \"up\"", "alpha = 1.5"),
    ("ddm", "drift_threshold = 4.5", "warm_start = -1"),
    ("eddm", "beta = 0.5", "beta = 0"),
    ("hddm_a", "two_sided_test = true", "drift_confidence = 1"),
    ("hddm_w", "lambda = 0.25", "lambda = 1.0"),
    ("kswin", "window_size = 80", "window_size = 1"),
    ("cusum", "slack = 0.5", "slack = -0.5"),
    ("bayesian", "model = \"normal\"", "expected_run_length = 1"),
];

#[test]
fn the_section_of_every_detector_on_a_signal_reaches_it() {
    for (name, own, _) in ON_A_SIGNAL {
        let section = format!(
            "[boundary]\ndetect = \"{name}\"\n[boundary.{name}]\n{own}\nsignal = \"error\"\ndirection = \"rise\"\n\
             min_task_samples = 7\nhistory_samples = 70\n"
        );
        let pipeline = parse(&section, &Overrides::default());
        assert!(pipeline.notes().is_empty(), "{:?}", pipeline.notes());
        let configs = serde_json::to_value(pipeline.settings().detector_configs()).unwrap();
        let mut expected = serde_json::to_value(lightcl_boundary::DetectorConfigs::default()).unwrap();
        let own: toml::Table = own.parse().unwrap();
        for (key, value) in own {
            assert_ne!(expected[name]["detector"][&key], serde_json::to_value(&value).unwrap(), "{name}.{key}");
            expected[name]["detector"][key] = serde_json::to_value(value).unwrap();
        }
        for (key, value) in [
            ("signal", "error".into()),
            ("direction", "rise".into()),
            ("min_task_samples", 7.into()),
            ("history_samples", Value::from(70)),
        ] {
            expected[name][key] = value;
        }
        assert_eq!(configs, expected, "{name}");
        assert_eq!(
            lightcl_boundary::build(&[name.to_owned()], &pipeline.settings().detector_configs()).unwrap().name(),
            name
        );
    }
}

#[test]
fn mistakes_in_the_section_of_a_detector_point_at_the_key() {
    for (name, own, wrong) in ON_A_SIGNAL {
        let (key, _) = own.split_once(" = ").unwrap();
        let misspelt = own.replacen(key, &format!("{key}x"), 1);
        for (line, said) in [
            (misspelt.as_str(), format!("unknown key '{key}x' in [boundary.{name}]; did you mean '{key}'?")),
            (wrong, format!("boundary.{name}.{} must be ", wrong.split_once(" = ").unwrap().0)),
            ("signal = \"los\"", format!("boundary.{name}.signal cannot be \"los\"; did you mean \"loss\"?")),
            (
                "direction = \"up\"",
                format!("boundary.{name}.direction cannot be \"up\"; there are \"rise\", \"fall\", \"both\""),
            ),
            ("history_samples = 9", format!("boundary.{name}.history_samples must be at least 10")),
            ("detector = {}", format!("unknown key 'detector' in [boundary.{name}]")),
        ] {
            let message = mistake(&format!("[boundary.{name}]\n{line}\n"), &Overrides::default());
            assert!(message.starts_with("shop.toml:8:") && message.contains(&said), "{line}: {message}");
        }
    }
}

#[test]
fn what_a_detector_refuses_is_shown_at_the_key_that_it_names() {
    for (more, place, said) in [
        (
            "ddm]\nsignal = \"loss\"",
            "8:10",
            "boundary.ddm: ddm as set is for values that are 0 or 1: set ddm.signal to \"error\"",
        ),
        ("hddm_a]\nsignal = \"entropy\"", "8:10", "hddm_a is for values between 0 and 1"),
        ("ddm]\nsignal = \"error\"\ndirection = \"fall\"", "9:13", "set direction to \"rise\": ddm finds nothing else"),
        ("cusum]\nmode = \"down\"", "8:8", "or cusum's mode to \"both\""),
        ("hddm_w]\ndirection = \"both\"", "8:13", "or hddm_w's two_sided_test to true"),
        ("ddm]\nwarm_start = 3\nwarning_threshold = 5", "9:21", "drift_threshold must be at least warning_threshold"),
        ("eddm]\nalpha = 0.5", "8:9", "boundary.eddm: alpha must be at least beta (alpha: 0.5, beta: 0.9"),
        ("kswin]\nstat_size = 60", "8:13", "stat_size must lie between 1 and 50"),
        ("kswin]\nwindow_size = 40", "8:15", "stat_size must lie between 1 and 20"),
        ("cusum]\nslack = 5", "8:9", "largest_deviation must be above slack"),
        ("bayesian]\nmodel = \"bernoulli\"", "7:1", "bayesian as set is for values that are 0 or 1"),
        ("bayesian]\nlongest_run = 10", "8:15", "shortest_run must lie between 1 and 10"),
        ("auto]\nsignals = []\nnew_classes = false", "7:1", "auto has nothing to watch"),
    ] {
        let message = mistake(&format!("[boundary.{more}\n"), &Overrides::default());
        assert!(message.starts_with(&format!("shop.toml:{place}: ")) && message.contains(said), "{more}: {message}");
    }
}

#[test]
fn the_section_of_the_calendar_reaches_it() {
    let overrides = set(&["sample.event_time=at"]);
    let pipeline = parse(
        "[boundary]\ndetect = \"calendar\"\n[boundary.calendar]\nperiod = \"weekly\"\noffset_minutes = -120\n\
         week_starts = \"sunday\"\nholidays = [\"2026-12-24\"]\n",
        &overrides,
    );
    assert!(pipeline.notes().is_empty(), "{:?}", pipeline.notes());
    assert_eq!(
        pipeline.settings().detector_configs().calendar,
        CalendarConfig {
            period: CalendarPeriod::Weekly,
            offset_minutes: -120,
            week_starts: DayOfWeek::Sunday,
            holidays: vec!["2026-12-24".to_owned()],
            alternate: Alternate::Each,
        }
    );
    assert_eq!(pipeline.settings().detector().unwrap().name(), "calendar");
    let weekend =
        parse("[boundary]\ndetect = \"calendar\"\n[boundary.calendar]\nalternate = \"weekend\"\n", &overrides);
    assert_eq!(weekend.settings().detector_configs().calendar.alternate, Alternate::Weekend);
    let notes = parse("[boundary.calendar]\nperiod = \"hourly\"\n", &Overrides::default());
    assert_eq!(notes.notes(), ["boundary.calendar is not used: boundary.detect does not name calendar"]);
}

#[test]
fn mistakes_in_the_section_of_the_calendar_point_at_the_key() {
    for (more, place, said) in [
        ("[boundary]\ndetect = \"calendar\"", "8:10", "needs the time of the events: set sample.event_time"),
        ("[boundary.calendar]\nperoid = \"daily\"", "8:1", "did you mean 'period'?"),
        ("[boundary.calendar]\nperiod = \"week\"", "8:10", "did you mean \"weekly\"?"),
        ("[boundary.calendar]\noffset_minutes = 1440", "8:18", "must be at least -1439 and at most 1439, not 1440"),
        ("[boundary.calendar]\nweek_starts = \"Monday\"", "8:15", "did you mean \"monday\"?"),
        ("[boundary.calendar]\nholidays = [2026-12-24]", "8:13", "must be text in quotes, not a date or time"),
        ("[boundary.calendar]\nholidays = [\"2026-12-24\", \"24.12.2026\"]", "8:12", "(holidays: 24.12.2026)"),
        ("[boundary.calendar]\nholidays = [\"24.12.\"]", "8:12", "must be dates such as 2026-12-24"),
        (
            "[boundary.calendar]\nperiod = \"weekly\"\nalternate = \"weekend\"",
            "8:10",
            "boundary.calendar: calendar.alternate = \"weekend\" goes by days: set calendar.period to \"daily\"",
        ),
    ] {
        let message = mistake(&format!("{more}\n"), &Overrides::default());
        assert!(message.starts_with(&format!("shop.toml:{place}: ")) && message.contains(said), "{more}: {message}");
    }
}

#[test]
fn every_choice_of_the_schema_is_one_that_the_program_reads() {
    let schema = pipeline_schema();
    let mut read = 0;
    for name in ON_A_SIGNAL.map(|(name, _, _)| name).into_iter().chain(["calendar"]) {
        let reference = schema["$defs"]["Boundary"]["properties"][name]["$ref"].as_str().unwrap();
        let section = &schema["$defs"][reference.rsplit('/').next().unwrap()]["properties"];
        for (key, form) in section.as_object().unwrap() {
            let choices = form.get("oneOf").or_else(|| form["anyOf"][0].get("oneOf"));
            for choice in choices.and_then(Value::as_array).into_iter().flatten() {
                let argument = format!("boundary.{name}.{key}={}", choice["const"].as_str().unwrap());
                // Some do not go with the other settings; a name that serde does not know is another error.
                if let Err(error) = Pipeline::parse(MINIMAL, "p.toml", &set(&[&argument])) {
                    assert_eq!(error.kind(), ErrorKind::User, "{argument}: {error}");
                }
                read += 1;
            }
        }
    }
    assert_eq!(read, 9 * (5 + 3) + 2 * 3 + 6 * 2 + 3 + (4 + 7 + 2));
}

#[test]
fn sections_of_detectors_that_are_not_used_are_noted_and_not_explained() {
    let sections = |more: &str| {
        let lines = parse(more, &Overrides::default()).explain().unwrap();
        let mut paths: Vec<String> = lines
            .into_iter()
            .filter_map(|line| match line {
                Explained::Section { path, .. } => path.strip_prefix("boundary.").map(str::to_owned),
                Explained::Key { .. } => None,
            })
            .collect();
        paths.sort();
        paths.join(" ")
    };
    assert_eq!(sections(""), "auto regimes");
    assert_eq!(sections("[boundary]\ndetect = [\"rule\", \"kswin\"]\n"), "auto kswin regimes");
    for (name, own, _) in ON_A_SIGNAL {
        assert_eq!(
            parse(&format!("[boundary.{name}]\n{own}\n"), &Overrides::default()).notes(),
            [format!("boundary.{name} is not used: boundary.detect does not name {name}")]
        );
    }
    let calibration = parse("[boundary]\ndetect = \"calibration\"\n[boundary.auto]\n", &Overrides::default());
    assert!(calibration.notes().is_empty(), "{:?}", calibration.notes());
}

#[test]
fn features_that_contradict_themselves_are_refused() {
    for (features, said) in [
        ("\"x\", \"x\"", "the column 'x' is a feature twice"),
        ("\"z\"", "the label column 'z' is also a feature"),
        ("{ column = \"x\", size = 4 }", "'size' is for categories"),
        ("{ column = \"x\", as = \"category\", size = 1 }", "needs a size of at least 2"),
        ("{ column = \"x\", as = \"category\", shape = [2] }", "only a tensor can be given a shape"),
        ("{ column = \"x\", shape = [0] }", "sample.features.0.shape.0 must be at least 1"),
        ("{ column = \"x\", knd = \"image\" }", "unknown key 'knd' in sample.features.0"),
        ("7", "must be text in quotes or a table, not 7"),
        ("", "sample.features must have at least 1 entry"),
    ] {
        let text = MINIMAL.replace("\"x\", \"y\"", features);
        let message = Pipeline::parse(&text, "p.toml", &Overrides::default()).unwrap_err().to_string();
        assert!(message.starts_with("p.toml:5:") && message.contains(said), "{features}: {message}");
    }
    let text =
        MINIMAL.replace("\"x\", \"y\"", "{ column = \"x\", as = \"category\", encoding = \"hash\", size = 1 }, \"y\"");
    let pipeline = Pipeline::parse(&text, "p.toml", &Overrides::default()).unwrap();
    let Feature::Table(table) = &pipeline.settings().sample.features[0] else { panic!("a table") };
    assert_eq!((table.kind, table.size), (FeatureKind::Category, Some(1)));
}

#[test]
fn short_forms_are_spelt_out() {
    let pipeline = parse("[boundary]\ntask_column = \"t\"\nevery_samples = 50\n", &Overrides::default());
    let settings = pipeline.settings();
    assert_eq!(settings.sample.task.as_deref(), Some("t"));
    assert_eq!(settings.boundary.detect, ["task_column", "auto", "every"]);
    assert_eq!(settings.detector_configs().every.every_samples, 50);
}

#[test]
fn the_command_line_comes_over_the_environment_and_that_over_the_file() {
    let environment = vec![
        ("LIGHTCL__LEARNER__SEED".to_owned(), "2".to_owned()),
        ("LIGHTCL__LEARNER__PASSES".to_owned(), "7".to_owned()),
        ("LIGHTCL_UPDATE_SCHEMAS".to_owned(), "1".to_owned()),
        ("PATH".to_owned(), "/bin".to_owned()),
    ];
    let overrides = Overrides { environment, ..set(&["learner.seed=3"]) };
    let pipeline = parse("[learner]\nseed = 1\npasses = 1\nmomentum = 0.5\n", &overrides);
    let learner = &pipeline.settings().learner;
    assert_eq!((learner.seed, learner.passes, learner.momentum), (3, 7, 0.5));
    assert_eq!(pipeline.origin_in_words("learner.seed"), "--set");
    assert_eq!(pipeline.origin_in_words("learner.passes"), "LIGHTCL__LEARNER__PASSES");
    assert_eq!(pipeline.origin_in_words("learner.momentum"), "line 10");
    assert_eq!(pipeline.origin_in_words("learner.sparse"), "default");
}

#[test]
fn overrides_take_toml_and_bare_text() {
    let pipeline = parse(
        "",
        &set(&[
            "learner.hidden=[8, 8, 8]",
            "learner.method=sgd",
            "boundary.detect=[\"error\"]",
            "sample.label=2024",
            "source.path=data/a=b.csv",
            "sample.features=[\"x\", { column = \"c\", as = \"category\" }]",
            "evaluate.path=true",
            "learner.learning_rate=1",
        ]),
    );
    let settings = pipeline.settings();
    assert_eq!(settings.learner_config().backbone, Backbone::Mlp { hidden: vec![8, 8, 8], frozen: 2 });
    assert_eq!((settings.sample.label.as_str(), settings.source.path.as_deref()), ("2024", Some("data/a=b.csv")));
    assert_eq!(settings.evaluate.as_ref().map(|evaluate| evaluate.path.as_str()), Some("true"));
    assert_eq!(settings.learner.learning_rate, 1.0);
    let out = Overrides { out: Some("else where".to_owned()), ..Overrides::default() };
    let pipeline = parse("[output]\ndir = \"x\"\n", &out);
    assert_eq!(pipeline.output_dir(), Path::new("else where"));
    assert_eq!(pipeline.origin_in_words("output.dir"), "--out");
}

#[test]
fn mistakes_of_overrides_name_the_override() {
    for (argument, said) in [
        ("learner.seeed=3", "--set learner.seeed=3: unknown key 'seeed' in [learner]; did you mean 'seed'?"),
        ("learner.seed=many", "--set learner.seed=many: learner.seed must be a whole number, not the text \"many\""),
        ("learner.seed", "--set learner.seed: expected key=value, such as --set learner.seed=3"),
        ("learner.frozen=9", "--set learner.frozen=9: learner.frozen (9) must be less than"),
        (
            "boundary.detect=[error]",
            "--set boundary.detect=[error]: the value [error] is not TOML; quote it for the shell",
        ),
        ("source.path.deep=1", "--set source.path.deep=1: source.path is not a table"),
        ("sample.features=x", "sample.features must be a list, not the text \"x\"; write [\"x\"]"),
    ] {
        let message = mistake("", &set(&[argument]));
        assert!(message.contains(said), "{argument}: {message}");
    }
    let environment = vec![("LIGHTCL__LEARNER__PASSES".to_owned(), "0".to_owned())];
    let message = mistake("", &Overrides { environment, ..Overrides::default() });
    assert!(message.starts_with("environment variable LIGHTCL__LEARNER__PASSES: learner.passes must be"), "{message}");
    let environment = vec![("LIGHTCL__LEARNER__".to_owned(), "0".to_owned())];
    let message = mistake("", &Overrides { environment, ..Overrides::default() });
    assert!(message.contains("the name must be LIGHTCL__SECTION__KEY"), "{message}");
}

#[test]
fn settings_that_do_nothing_are_noted_not_refused() {
    let notes = |more: &str| parse(more, &Overrides::default()).notes().join("\n");
    assert!(notes("[learner]\nbackbone = \"resnet18\"\nhidden = [4]\n").contains("learner.hidden is not used"));
    assert!(notes("[learner]\nwidth = 4\n").contains("learner.width is not used"));
    assert!(notes("[learner]\nprefix = \"pretrained\"\n").contains("stay as drawn from the seed"));
    assert!(notes("[boundary]\ndetect = []\n[boundary.error]\ndelta = 0.1\n").contains("boundary.error is not used"));
    assert!(notes("[checkpoint]\nevery_samples = 0\nevery_seconds = 0\n").contains("checkpoints are off"));
}

#[test]
fn the_hash_covers_what_decides_the_state_and_nothing_else() {
    let hash = |arguments: &[&str]| parse("", &set(arguments)).config_sha256().unwrap();
    let base = hash(&[]);
    for same in [
        "source.batch_rows=7",
        "output.dir=x",
        "snapshot.at_end=false",
        "checkpoint.keep=5",
        "predictions.format=jsonl",
        "stability.every_samples=5",
        "name=other",
        "learner.seed=0",
    ] {
        assert_eq!(hash(&[same]), base, "{same}");
    }
    for other in [
        "source.path=b.csv",
        "source.infer_rows=7",
        "sample.standardize=true",
        "boundary.rollback_batches=2",
        "boundary.error.delta=0.1",
        "learner.seed=1",
        "learner.memory.samples=2",
        "evaluate.path=b.csv",
        "stability.probe_samples=2",
        "stability.prequential_window_samples=2",
    ] {
        assert_ne!(hash(&[other]), base, "{other}");
    }
}

#[test]
fn a_changed_configuration_is_told_line_by_line() {
    let part = |arguments: &[&str]| parse("", &set(arguments)).learning_part().unwrap();
    let old = part(&[]);
    assert!(difference(&old, &part(&["output.dir=x"])).is_empty());
    let new = part(&["learner.seed=3", "boundary.detect=[\"error\"]", "evaluate.path=b.csv"]);
    assert_eq!(
        difference(&old, &new),
        [
            "boundary.detect: [\"auto\"] -> [\"error\"]",
            "evaluate.path: (not set) -> \"b.csv\"",
            "evaluate.type: (not set) -> \"csv\"",
            "learner.seed: 0 -> 3",
        ]
    );
}

#[test]
fn a_pipeline_file_that_is_not_there_names_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop.toml"), MINIMAL).unwrap();
    let error = Pipeline::load(&folder.path().join("shp.toml"), &Overrides::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User);
    assert!(error.message().contains("there is no pipeline file") && error.message().contains("shop.toml?"), "{error}");
    fs::write(folder.path().join("bytes.toml"), [0xff, 0xfe]).unwrap();
    let error = Pipeline::load(&folder.path().join("bytes.toml"), &Overrides::default()).unwrap_err();
    assert!(error.message().contains("is not UTF-8"), "{error}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_and_no_override_makes_the_reader_panic(
        cut in 0_usize..200,
        insert in ".{0,12}",
        argument in "[a-z.\\[\\]\"'={},0-9é_-]{0,24}",
        value in ".{0,12}",
    ) {
        let mut text = format!("{MINIMAL}[learner]\nhidden = [8, 8]\nfrozen = 1\n[boundary]\ndetect = [\"every\"]\nevery_samples = 3\n");
        let place = text.char_indices().map(|(place, _)| place).nth(cut % text.len()).unwrap_or(0);
        text.insert_str(place, &insert);
        let environment = vec![(format!("LIGHTCL__{}", argument.to_uppercase()), value.clone())];
        for overrides in [
            Overrides::default(),
            set(&[&argument]),
            set(&[&format!("learner.{argument}={value}")]),
            Overrides { environment, ..Overrides::default() },
        ] {
            if let Err(error) = Pipeline::parse(&text, "p.toml", &overrides) {
                proptest::prop_assert_eq!(error.kind(), ErrorKind::User, "{}", error);
            }
        }
    }
}
