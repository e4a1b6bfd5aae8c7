//! Tests the configuration: what it takes, and what it refuses with words.

use super::*;

/// Keys for which the sample shows an example, because by default they are not set.
const EXAMPLES: [&str; 15] = [
    "publish_key",
    "upstream",
    "key ",
    "peers",
    "publishers",
    "share",
    "replicas",
    "repair_after",
    "shrink_after",
    "zone",
    "resolver",
    "ca_file",
    "webhook",
    "donors",
    "file",
];

#[test]
fn the_sample_is_the_default() {
    let commented: String = SAMPLE
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|it| it.contains(" = ") && !it.contains("192.0.2.1"))
                .filter(|it| !EXAMPLES.iter().any(|key| it.starts_with(key)))
                .unwrap_or(if line.starts_with('#') { "" } else { line })
        })
        .fold(String::new(), |text, line| text + line + "\n");
    let raw: RawConfig = toml::from_str(&commented).unwrap();
    assert!(raw.node.listen.is_some() && raw.http.listen.is_some() && raw.log.filter.is_some());
    let default = Config::new(RawConfig::default(), Overrides::default()).unwrap();
    assert_eq!(Config::new(raw, Overrides::default()).unwrap(), default);
}

#[test]
fn what_is_shown_says_every_key_and_means_the_same() {
    let set = "[node]\nbootstrap = ['/ip4/192.0.2.1/tcp/1']\nexternal = ['/ip4/192.0.2.2/tcp/1']\ndht = 'client'\nrelay = 'off'\n\
               upnp = false\n[transfer]\nzone = ['10.1.2.3/16']\n[gateway]\npublish_key = 'me'\nupstream = 'hf'\n[cache]\nmax_size = '1.5 GiB'\n\
               [swarm]\nkey = 'lab'\npeers = []\npublishers = []\nshare = ['*/*']\nreplicas = 3\nzone = 'rack-1'\n\
               [domains]\nresolver = '10.0.0.53:53'\nca_file = '/ca.pem'\nprivate = ['lab.example']\nhttps_port = 8443\n\
               [health]\nwebhook = 'https://hooks.example/reg'\nzones = { rack-1 = ['10.1.0.0/16'] }\n[donate]\ndonors = 4\n[log]\nfile = '/reg.log'";
    let meant = Config::new(toml::from_str(set).unwrap(), Overrides::default()).unwrap();
    let written = meant.written().to_toml();
    assert_eq!(Config::new(toml::from_str(&written).unwrap(), Overrides::default()).unwrap(), meant);
    let keys = SAMPLE.lines().filter_map(|line| line.strip_prefix("# ")?.split_once(" = "));
    for (key, _) in keys.filter(|(key, _)| !key.contains(' ')) {
        let is_shown = |form: String| written.contains(&form);
        assert!(is_shown(format!("{key} = ")) || is_shown(format!(".{key}]")), "{key} is not shown");
    }
}

#[test]
fn flags_win_over_the_file_and_unknown_keys_are_refused() {
    let raw: RawConfig =
        toml::from_str("[node]\nmdns = true\ndht = 'client'\n[cache]\nmax_size = '1.5 GiB'").unwrap();
    let overrides = Overrides { mdns: Some(false), ..Overrides::default() };
    let config = Config::new(raw, overrides).unwrap();
    assert_eq!(
        (config.mdns, config.dht, config.cache.max_size),
        (false, DhtMode::Client, CacheSize::Bytes(3 << 29))
    );
    let error = toml::from_str::<RawConfig>("[node]\nmdsn = true").unwrap_err().to_string();
    assert!(error.contains("mdsn") && error.contains("line 2"), "{error}");
    for (file, what) in [
        ("[transfer]\nlimit_up = '10 kB/s'", "limit_up"),
        ("[transfer]\nlimit_down = 'auto'", "limit_down"),
        ("[transfer]\nweb_seeds = ['ftp://x']", "web_seeds"),
        ("[transfer]\nzone = ['rack 1']", "transfer.zone"),
        ("[node]\ndht = 'x'", "dht"),
        ("[node]\nrelay = 'yes'", "relay"),
        ("[node]\nexternal = ['x']", "external"),
        ("[swarm]\npeers = ['x']", "swarm.peers"),
        ("[domains]\nprivate = ['lab']", "domains.private"),
        ("[domains]\nresolver = '10.0.0.53'", "domains.resolver"),
        ("[swarm]\nkey = ''", "swarm.key"),
        ("[swarm]\npublishers = ['X!']", "swarm.publishers"),
        ("[swarm]\nshare = ['x']", "swarm.share"),
        ("[cache]\nmax_size = '1 XB'", "max_size"),
        ("[http]\nlisten = 'everywhere'", "http.listen"),
        ("[http]\norigins = ['*']", "http.origins"),
        ("[http]\norigins = ['https://page.example/']", "http.origins"),
        ("[gateway]\nupstream = 'x'", "upstream"),
        ("[gateway]\npublish_key = '../x'", "publish_key"),
        ("[node]\nlisten = ['x']", "listen"),
    ] {
        let error = Config::new(toml::from_str(file).unwrap(), Overrides::default()).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn limits_are_read_in_their_order() {
    let file = || toml::from_str("[transfer]\nlimit_up = '2 MB/s'\nlimit_down = '1 MiB'").unwrap();
    let config = Config::new(file(), Overrides::default()).unwrap();
    assert_eq!((config.limits.up, config.limits.down), (UpLimit::Rate(2_000_000), Some(1 << 20)));
    let overrides =
        Overrides { limit_up: Some("none".into()), limit_down: Some("none".into()), ..Overrides::default() };
    let config = Config::new(file(), overrides).unwrap();
    assert_eq!((config.limits.up, config.limits.down), (UpLimit::None, None));
    assert_eq!(parse_rate("64kB/s"), Some(64_000));
    assert_eq!((parse_rate("63kB/s"), parse_rate("/s")), (None, None));
}

#[test]
fn sizes_are_read_as_people_write_them() {
    assert_eq!(parse_size("50 GiB"), Some(50 << 30));
    assert_eq!(parse_size("500MB"), Some(500_000_000));
    assert_eq!(parse_size("123"), Some(123));
    for text in ["", "GiB", "-1", "1 XB", "1e9", "99999999999999999999", "1.0000000001 GB"] {
        assert_eq!(parse_size(text), None, "{text}");
    }
}
