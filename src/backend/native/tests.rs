//! What images the builder makes, over a store in memory.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use super::files::Kind;
use super::*;
use crate::ports::oci::{HealthConfig, MEDIA_LAYER, MEDIA_LAYER_GZIP};
use crate::ports::{BlobStore as _, MemoryStore, StageStore as _};
use crate::source::{Files, Mode, ObjectId, Objects};
use crate::stage::{CopyMode, CopyStep, FilterSpec, Healthcheck, RunStep, TreeSource, take};

/// Writes the files of one layer.
type WriteLayer<'a> = &'a dyn Fn(&mut tar::Builder<Vec<u8>>);

/// A repository, a store and a builder.
struct World {
    files: Files,
    store: MemoryStore,
    builder: NativeBuilder,
}

fn world(files: &[(&str, Mode, &str)]) -> World {
    let objects = MemoryObjects::new();
    let changes = files.iter().map(|(p, m, t)| ((*p).to_owned(), Some((*m, t.as_bytes().to_vec())))).collect();
    let root = objects.with_changes(None, &changes).unwrap();
    let files = Files::new(Arc::new(objects), root);
    World { files, store: MemoryStore::default(), builder: NativeBuilder::default() }
}

impl World {
    fn tree(&self, path: &str, filter: FilterSpec) -> CopySource {
        let objects = Arc::new(MemoryObjects::over(self.files.objects().clone()));
        let (mode, id) = take(&objects, self.files.root(), path, &filter).unwrap().unwrap();
        CopySource::Tree(TreeSource { root: self.files.root(), path: path.into(), filter, id, mode, called: None })
    }

    fn build(&self, base: Base, steps: Vec<Step>) -> Result<BuiltImage, BuildError> {
        let part = BuildPart { name: "main".into(), base, arguments: BTreeMap::new(), steps };
        self.build_parts(vec![part])
    }

    fn build_parts(&self, parts: Vec<BuildPart>) -> Result<BuiltImage, BuildError> {
        let request = BuildRequest::new(Platform::linux_amd64(), parts);
        let objects: &Arc<dyn Objects> = self.files.objects();
        self.builder.build(&request, &BuildContext::new(objects, &self.store))
    }

    fn view(&self, built: &BuiltImage) -> View {
        let layers = built.layers.iter().map(|layer| {
            let archive = Archive::Layer(layer.digest.clone());
            Arc::new(tar_read::read_layer(&self.store.read(&layer.digest).unwrap()[..], archive).unwrap())
        });
        View(layers.collect())
    }

    /// Lists an image: type, mode, owner, path and content.
    fn list(&self, built: &BuiltImage) -> Vec<String> {
        let view = self.view(built);
        let context = BuildContext::new(self.files.objects(), &self.store);
        let line = |(path, node): (Box<str>, files::Node)| {
            let (kind, content) = match &node.kind {
                Kind::Directory => ('d', String::new()),
                Kind::Symlink(target) => ('l', format!(" -> {target}")),
                Kind::File { content, .. } => {
                    ('f', format!(" {}", String::from_utf8(content::read_content(&context, content).unwrap()).unwrap()))
                }
                Kind::Hardlink(target) => ('h', format!(" {target}")),
                Kind::Special(..) => ('s', String::new()),
            };
            format!("{kind} {:o} {}:{} {path}{content}", node.mode, node.uid, node.gid)
        };
        view.below("").into_iter().map(line).collect()
    }

    fn config(&self, built: &BuiltImage) -> ImageConfig {
        ImageConfig::parse(&self.store.read(&built.config.digest).unwrap(), || "config".into()).unwrap()
    }

    /// Stores an image of somebody else whose layers are written with the `tar` crate.
    fn base(&self, reference: &str, config: &str, layers: &[WriteLayer<'_>]) -> Base {
        let mut descriptors = Vec::new();
        let mut diff_ids = Vec::new();
        for write in layers {
            let mut tar = tar::Builder::new(Vec::new());
            write(&mut tar);
            let bytes = tar.into_inner().unwrap();
            let (digest, size) = self.store.put(&mut |out| out.write_all(&bytes)).unwrap();
            diff_ids.push(digest.clone());
            let media_type = "application/vnd.docker.image.rootfs.diff.tar".into();
            descriptors.push(Descriptor { media_type, digest, size });
        }
        let mut config = ImageConfig::parse(config.as_bytes(), || "config".into()).unwrap();
        config.rootfs.diff_ids = diff_ids;
        let (digest, size) = self.store.put(&mut |out| out.write_all(&config.to_bytes())).unwrap();
        let config = Descriptor { media_type: MEDIA_CONFIG.into(), digest, size };
        let built = BuiltImage { config, layers: descriptors };
        let manifest = crate::ports::oci::Manifest::of(&built, &BTreeMap::new()).to_bytes();
        let (manifest, _) = self.store.put(&mut |out| out.write_all(&manifest)).unwrap();
        self.store.tag(reference, Some(reference), &manifest).unwrap();
        Base::Image(external(reference))
    }
}

fn external(reference: &str) -> ImageRef {
    ImageRef::External { reference: reference.into() }
}

fn add(tar: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, path: &str, mode: u32, owner: u64, content: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_size(0);
    if kind.is_symlink() || kind.is_hard_link() {
        tar.append_link(&mut header, path, content).unwrap();
    } else {
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
}

const DIR: tar::EntryType = tar::EntryType::Directory;
const REG: tar::EntryType = tar::EntryType::Regular;
const SYM: tar::EntryType = tar::EntryType::Symlink;

fn copy(sources: Vec<CopySource>, to: &str) -> CopyStep {
    CopyStep {
        sources,
        to: to.into(),
        owner: Owner::default(),
        mode: None,
        extract: false,
        parents: false,
        link: false,
        created_by: format!("COPY … {to}"),
    }
}

fn all(path: &str, part: usize) -> CopySource {
    CopySource::Part { part, path: path.into(), filter: FilterSpec::All }
}

fn part(base: Base, steps: Vec<Step>) -> BuildPart {
    BuildPart { name: "part".into(), base, arguments: BTreeMap::new(), steps }
}

/// A base like those of distributions: links of directories, users, a removed file.
fn distribution(world: &World) -> Base {
    world.base(
        "distro:1",
        r#"{"os":"linux","architecture":"amd64","config":{"Env":["PATH=/bin"]}}"#,
        &[
            &|tar| {
                add(tar, DIR, "usr/", 0o755, 0, "");
                add(tar, DIR, "usr/bin/", 0o755, 0, "");
                add(tar, SYM, "bin", 0o777, 0, "usr/bin");
                add(tar, DIR, "etc/", 0o755, 0, "");
                add(tar, REG, "etc/passwd", 0o644, 0, "root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n");
                add(tar, REG, "etc/group", 0o644, 0, "root:x:0:\nstaff:x:50:app\n");
                add(tar, DIR, "tmp/", 0o1777, 0, "");
                add(tar, DIR, "old/", 0o700, 7, "");
                add(tar, REG, "old/x", 0o644, 7, "gone");
            },
            &|tar| add(tar, REG, ".wh.old", 0o644, 0, ""),
        ],
    )
}

#[test]
fn a_tree_is_copied_with_git_modes_and_links() {
    let world = world(&[
        ("src/a.txt", Mode::File, "a"),
        ("src/run.sh", Mode::Executable, "b"),
        ("src/deep/link", Mode::Symlink, "../a.txt"),
        ("other", Mode::File, "c"),
    ]);
    let steps = vec![Step::Copy(copy(vec![world.tree("src", FilterSpec::All)], "/srv/app"))];
    let built = world.build(Base::Scratch, steps).unwrap();
    assert_eq!(
        world.list(&built),
        [
            "d 755 0:0 srv",
            "d 755 0:0 srv/app",
            "f 644 0:0 srv/app/a.txt a",
            "d 755 0:0 srv/app/deep",
            "l 777 0:0 srv/app/deep/link -> ../a.txt",
            "f 755 0:0 srv/app/run.sh b",
        ]
    );
    assert_eq!(built.layers.len(), 1);
    assert_eq!(built.layers[0].media_type, MEDIA_LAYER_GZIP);
}

#[test]
fn equal_inputs_give_the_same_digest_for_good() {
    // A change of these digests changes every stored layer: it must be on purpose, and told in the change log.
    let world = world(&[("a/b.txt", Mode::File, "hello\n"), ("c", Mode::Executable, "x")]);
    let built = world.build(Base::Scratch, vec![Step::Copy(copy(vec![world.tree("", FilterSpec::All)], "/"))]).unwrap();
    let text = |digest: &BlobDigest| digest.to_string();
    assert_eq!(
        text(&built.layers[0].digest),
        "sha256:864835d7dbd44bb5e27c0de25c9e32cc1e2bea46097cc3e27310552868477245"
    );
    assert_eq!(
        text(&world.config(&built).rootfs.diff_ids[0]),
        "sha256:929638b04133f351e9188008340b9d83f5ea8f8d8c0949fd7600644ff8f99850"
    );
    assert_eq!(text(&built.config.digest), "sha256:b1130782d95375074a612faa1ef5987c6aa97f2f883fa6cefa00f38a11e4a5c7");
}

#[test]
fn a_large_layer_is_compressed_in_members_that_all_readers_join() {
    let large = "0123456789abcdef\n".repeat(1_300_000);
    let world = world(&[("big", Mode::File, &large), ("small", Mode::File, "s")]);
    let built = world.build(Base::Scratch, vec![Step::Copy(copy(vec![world.tree("", FilterSpec::All)], "/"))]).unwrap();
    let list = world.list(&built);
    assert_eq!(list.len(), 2);
    assert!(list[0].ends_with(&large) && list[1].ends_with(" small s"));
    let tar = std::io::read_to_string(flate2::read::MultiGzDecoder::new(
        &world.store.read(&built.layers[0].digest).unwrap()[..],
    ));
    assert_eq!(BlobDigest::of(tar.unwrap().as_bytes()), world.config(&built).rootfs.diff_ids[0]);
}

#[test]
fn files_land_where_docker_puts_them() {
    let world = world(&[("a.txt", Mode::File, "a"), ("dir/b.txt", Mode::File, "b"), ("dir/s/c", Mode::File, "c")]);
    let cases: &[(&[&str], &str, &[&str])] = &[
        (&["a.txt"], "/x", &["x"]),
        (&["a.txt"], "/x/", &["x", "x/a.txt"]),
        (&["a.txt"], "/x/y", &["x", "x/y"]),
        (&["a.txt"], "rel", &["work", "work/rel"]),
        (&["a.txt"], ".", &["work", "work/a.txt"]),
        (&["a.txt"], "./", &["work", "work/a.txt"]),
        (&["a.txt"], "../up", &["up"]),
        (&["dir"], "/x", &["x", "x/b.txt", "x/s", "x/s/c"]),
        (&["dir"], "/x/", &["x", "x/b.txt", "x/s", "x/s/c"]),
        (&["a.txt", "dir"], "/x", &["x", "x/a.txt", "x/b.txt", "x/s", "x/s/c"]),
        (&["a.txt", "dir/b.txt"], "/x/", &["x", "x/a.txt", "x/b.txt"]),
    ];
    for (sources, to, expected) in cases {
        let sources = sources.iter().map(|s| world.tree(s, FilterSpec::All)).collect();
        let workdir = Step::Config(ConfigChange::Workdir("/work".into()));
        let built = world.build(Base::Scratch, vec![workdir, Step::Copy(copy(sources, to))]).unwrap();
        let paths: Vec<String> = world.view(&built).below("").keys().map(ToString::to_string).collect();
        let mut expected: Vec<&str> = expected.to_vec();
        if !expected.contains(&"work") {
            expected.push("work");
            expected.sort_unstable();
        }
        assert_eq!(paths, expected, "{to}");
    }
}

#[test]
fn a_destination_leads_through_links_of_the_base() {
    let world = world(&[("tool", Mode::Executable, "t"), ("etc/conf", Mode::File, "c")]);
    let base = distribution(&world);
    let built = world
        .build(
            base,
            vec![
                Step::Copy(copy(vec![world.tree("tool", FilterSpec::All)], "/bin/")),
                Step::Copy(copy(vec![world.tree("etc", FilterSpec::All)], "/etc")),
                Step::Copy(copy(vec![world.tree("tool", FilterSpec::All)], "/tmp/tool")),
            ],
        )
        .unwrap();
    assert_eq!(built.layers.len(), 5);
    let own: Vec<String> =
        world.view(&built).0[2..].iter().flat_map(|l| l.entries.keys().map(ToString::to_string)).collect();
    assert_eq!(
        own,
        ["usr", "usr/bin", "usr/bin/tool", "etc", "etc/conf", "tmp", "tmp/tool"],
        "folders too, as they are"
    );
    assert!(world.list(&built).contains(&"d 1777 0:0 tmp".to_owned()));
    assert!(!world.list(&built).iter().any(|line| line.contains("old")));
    assert_eq!(built.layers[0].media_type, MEDIA_LAYER);
    assert_eq!(world.config(&built).config.env, ["PATH=/bin"]);
}

#[test]
fn removed_directories_of_the_base_are_made_anew() {
    let world = world(&[("x", Mode::File, "new")]);
    let base = distribution(&world);
    let built = world.build(base, vec![Step::Copy(copy(vec![world.tree("x", FilterSpec::All)], "/old/y"))]).unwrap();
    let old: Vec<String> = world.list(&built).into_iter().filter(|l| l.contains("old")).collect();
    assert_eq!(old, ["d 755 0:0 old", "f 644 0:0 old/y new"]);
}

#[test]
fn owners_and_modes_are_set_as_asked() {
    let world = world(&[("d/f", Mode::File, "1"), ("d/s/g", Mode::Executable, "2"), ("d/l", Mode::Symlink, "f")]);
    let owner =
        |user: Option<&str>, group: Option<&str>| Owner { user: user.map(Into::into), group: group.map(Into::into) };
    let owners = [
        (owner(Some("app"), None), "1000:1001"),
        (owner(Some("app"), Some("staff")), "1000:50"),
        (owner(Some("5"), None), "5:5"),
        (owner(Some("5"), Some("6")), "5:6"),
        (owner(None, Some("staff")), "0:50"),
    ];
    for (owner, ids) in owners {
        let base = distribution(&world);
        let step = CopyStep {
            owner,
            mode: Some(CopyMode::Fixed(0o640)),
            ..copy(vec![world.tree("d", FilterSpec::All)], "/new/d")
        };
        let built = world.build(base, vec![Step::Copy(step)]).unwrap();
        let new: Vec<String> = world.list(&built).into_iter().filter(|l| l.contains("new")).collect();
        assert_eq!(
            new,
            [
                format!("d 755 {ids} new"),
                format!("d 755 {ids} new/d"),
                format!("f 640 {ids} new/d/f 1"),
                format!("l 777 {ids} new/d/l -> f"),
                format!("d 640 {ids} new/d/s"),
                format!("f 640 {ids} new/d/s/g 2"),
            ]
        );
    }
    let base = distribution(&world);
    let step = CopyStep { owner: owner(Some("nobody"), None), ..copy(vec![world.tree("d", FilterSpec::All)], "/x") };
    let error = world.build(base, vec![Step::Copy(step)]).unwrap_err().to_string();
    assert!(error.contains("/etc/passwd of the image has no user `nobody`"), "{error}");
}

#[test]
fn what_stands_in_the_way_is_told() {
    let world = world(&[("f", Mode::File, "1"), ("d/etc", Mode::File, "1"), ("e/passwd/x", Mode::File, "1")]);
    for (source, to, why) in [
        ("f", "/etc/passwd/x", "`/etc/passwd` is not a directory"),
        ("d", "/", "`/etc` is a directory in the image"),
        ("e", "/etc", "`/etc/passwd` is not a directory"),
        ("d", "/etc/passwd", "`/etc/passwd` is not a directory"),
    ] {
        let base = distribution(&world);
        let step = Step::Copy(copy(vec![world.tree(source, FilterSpec::All)], to));
        let error = world.build(base, vec![step]).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("COPY"), "{error}");
    }
    let base = distribution(&world);
    let step = CopyStep { link: true, ..copy(vec![world.tree("f", FilterSpec::All)], "/bin/x") };
    let built = world.build(base, vec![Step::Copy(step)]).unwrap();
    assert_eq!(
        world.list(&built).into_iter().filter(|l| l.contains(" bin")).collect::<Vec<_>>(),
        ["d 755 0:0 bin", "f 644 0:0 bin/x 1"]
    );
}

#[test]
fn filters_of_the_repository_are_applied_and_checked() {
    let world = world(&[("a/x.md", Mode::File, "1"), ("a/y.txt", Mode::File, "2"), ("b/z.md", Mode::File, "3")]);
    let ignore = FilterSpec::Dockerignore { patterns: vec!["**/*.md".into()], exclude: Vec::new() };
    let step = Step::Copy(copy(vec![world.tree("", ignore.clone())], "/"));
    let built = world.build(Base::Scratch, vec![step]).unwrap();
    assert_eq!(world.list(&built), ["d 755 0:0 a", "f 644 0:0 a/y.txt 2", "d 755 0:0 b"]);
    let CopySource::Tree(tree) = world.tree("", ignore) else { unreachable!() };
    let wrong = CopySource::Tree(TreeSource { id: ObjectId([7; 20]), ..tree });
    let error = world.build(Base::Scratch, vec![Step::Copy(copy(vec![wrong], "/"))]).unwrap_err().to_string();
    assert!(error.contains("0707") && error.contains("plan again"), "{error}");
}

#[test]
fn an_image_gives_files_with_their_owners() {
    let world = world(&[]);
    world.base(
        "tools:1",
        r#"{"os":"linux","architecture":"amd64"}"#,
        &[&|tar| {
            add(tar, DIR, "opt/", 0o750, 3, "");
            add(tar, REG, "opt/a.so", 0o600, 3, "lib");
            add(tar, tar::EntryType::Link, "opt/b.so", 0o600, 3, "opt/a.so");
            add(tar, DIR, "opt/s/", 0o2711, 4, "");
            add(tar, REG, "opt/s/c.txt", 0o644, 4, "c");
            add(tar, SYM, "opt/cur", 0o777, 3, "s");
        }],
    );
    let source =
        |path: &str, filter: FilterSpec| CopySource::Image { image: external("tools:1"), path: path.into(), filter };
    let list = |step: CopyStep| world.build(Base::Scratch, vec![Step::Copy(step)]).map(|built| world.list(&built));
    assert_eq!(
        list(copy(vec![source("/opt", FilterSpec::All)], "/to")).unwrap(),
        [
            "d 755 0:0 to",
            "f 600 3:3 to/a.so lib",
            "f 600 3:3 to/b.so lib",
            "l 777 3:3 to/cur -> s",
            "d 2711 4:4 to/s",
            "f 644 4:4 to/s/c.txt c",
        ]
    );
    assert_eq!(
        list(copy(vec![source("/opt/*.so", FilterSpec::All)], "/l/")).unwrap(),
        ["d 755 0:0 l", "f 600 3:3 l/a.so lib", "f 600 3:3 l/b.so lib",]
    );
    assert_eq!(
        list(copy(vec![source("/opt/cur", FilterSpec::All)], "/l")).unwrap(),
        ["d 755 0:0 l", "f 644 4:4 l/c.txt c"]
    );
    let only_text = FilterSpec::Paths { include: vec!["**/*.txt".into()], exclude: Vec::new() };
    assert_eq!(
        list(copy(vec![source("/opt", only_text)], "/i")).unwrap(),
        ["d 755 0:0 i", "d 2711 4:4 i/s", "f 644 4:4 i/s/c.txt c"]
    );
    let chown = Owner { user: Some("9".into()), group: None };
    let step = CopyStep { owner: chown, ..copy(vec![source("/opt/a.so", FilterSpec::All)], "/n/x") };
    assert_eq!(list(step).unwrap(), ["d 755 9:9 n", "f 600 9:9 n/x lib"]);
    let parents = CopyStep { parents: true, ..copy(vec![source("/opt/s/*.txt", FilterSpec::All)], "/p") };
    assert_eq!(
        list(parents).unwrap(),
        ["d 755 0:0 p", "d 755 0:0 p/opt", "d 755 0:0 p/opt/s", "f 644 4:4 p/opt/s/c.txt c"]
    );
    let deep = CopyStep { parents: true, ..copy(vec![source("/opt/./**/c.txt", FilterSpec::All)], "/p") };
    assert_eq!(list(deep).unwrap(), ["d 755 0:0 p", "d 755 0:0 p/s", "f 644 4:4 p/s/c.txt c"]);
    let error = list(copy(vec![source("/opt/none", FilterSpec::All)], "/x")).unwrap_err().to_string();
    assert!(error.contains("`/opt/none` does not exist"), "{error}");
}

#[test]
fn hard_links_stay_links() {
    let world = world(&[]);
    let base = world.base(
        "b",
        r#"{"os":"linux","architecture":"amd64"}"#,
        &[&|tar| {
            add(tar, REG, "d/a", 0o644, 0, "text");
            add(tar, tar::EntryType::Link, "d/b", 0o644, 0, "d/a");
        }],
    );
    let source = CopySource::Image { image: external("b"), path: "/d".into(), filter: FilterSpec::All };
    let built = world.build(base, vec![Step::Copy(copy(vec![source], "/e"))]).unwrap();
    let bytes = world.store.read(&built.layers[1].digest).unwrap();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
    let kinds: Vec<_> = tar.entries().unwrap().map(|e| e.unwrap().header().entry_type()).collect();
    assert_eq!(kinds, [DIR, REG, tar::EntryType::Link]);
}

#[test]
fn parts_give_files_and_are_not_stored() {
    let world = world(&[("a", Mode::File, "1"), ("b", Mode::File, "2")]);
    let one = part(Base::Scratch, vec![Step::Copy(copy(vec![world.tree("a", FilterSpec::All)], "/out/a"))]);
    let two = part(
        Base::Part(0),
        vec![
            Step::Config(ConfigChange::Env("X".into(), "1".into())),
            Step::Copy(copy(vec![world.tree("b", FilterSpec::All)], "/out/b")),
        ],
    );
    let unused = part(Base::Image(external("nowhere")), Vec::new());
    let three = part(Base::Scratch, vec![Step::Copy(copy(vec![all("/out", 1)], "/"))]);
    let built = world.build_parts(vec![one, two, unused, three]).unwrap();
    assert_eq!(world.list(&built), ["f 644 0:0 a 1", "f 644 0:0 b 2"]);
    assert_eq!(built.layers.len(), 1);
    assert_eq!(world.config(&built).config.env.len(), 1);
}

#[test]
fn archives_are_unpacked_where_asked() {
    let mut tar = tar::Builder::new(Vec::new());
    add(&mut tar, DIR, "./", 0o700, 5, "");
    add(&mut tar, REG, "./x/f", 0o640, 5, "1");
    add(&mut tar, REG, "bin/tool", 0o755, 5, "2");
    add(&mut tar, tar::EntryType::Link, "again", 0o755, 5, "bin/tool");
    let tar = tar.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    for bytes in [tar, gzip.finish().unwrap()] {
        let objects = MemoryObjects::new();
        let changes = [
            ("a.tar".to_owned(), Some((Mode::File, bytes))),
            ("plain".to_owned(), Some((Mode::File, b"text".to_vec()))),
        ];
        let root = objects.with_changes(None, &changes.into_iter().collect()).unwrap();
        let world = World {
            files: Files::new(Arc::new(objects), root),
            store: MemoryStore::default(),
            builder: NativeBuilder::default(),
        };
        let base = distribution(&world);
        let sources = vec![world.tree("a.tar", FilterSpec::All), world.tree("plain", FilterSpec::All)];
        let built = world.build(base, vec![Step::Copy(CopyStep { extract: true, ..copy(sources, "/") })]).unwrap();
        let own = &world.view(&built).0[2];
        assert_eq!(
            own.entries.keys().map(|k| &**k).collect::<Vec<_>>(),
            ["again", "plain", "usr", "usr/bin", "usr/bin/tool", "x", "x/f"]
        );
        let list = world.list(&built);
        for line in ["f 640 5:5 x/f 1", "d 755 0:0 x", "f 755 5:5 usr/bin/tool 2", "f 644 0:0 plain text"] {
            assert!(list.contains(&line.to_owned()), "{line}");
        }
    }
    // What only looks like an archive is a file.
    let objects = MemoryObjects::new();
    let xz = [("a".to_owned(), Some((Mode::File, [&[0xfd][..], b"7zXZ\0rest"].concat())))];
    let root = objects.with_changes(None, &xz.into_iter().collect()).unwrap();
    let files = Files::new(Arc::new(objects), root);
    let world = World { files, store: MemoryStore::default(), builder: NativeBuilder::default() };
    let step = CopyStep { extract: true, ..copy(vec![world.tree("a", FilterSpec::All)], "/") };
    let built = world.build(Base::Scratch, vec![Step::Copy(step)]).unwrap();
    assert_eq!(world.view(&built).0[0].entries.keys().map(|k| &**k).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn text_of_a_dockerfile_becomes_a_file() {
    let world = world(&[]);
    let inline = || CopySource::Inline { name: "EOF".into(), content: "hi\n".into() };
    let steps = vec![Step::Copy(copy(vec![inline()], "/etc/motd")), Step::Copy(copy(vec![inline()], "/x/"))];
    let built = world.build(Base::Scratch, steps).unwrap();
    assert_eq!(world.list(&built), ["d 755 0:0 etc", "f 644 0:0 etc/motd hi\n", "d 755 0:0 x", "f 644 0:0 x/EOF hi\n"]);
}

#[test]
fn configuration_alone_reads_no_layer() {
    let world = world(&[]);
    let base = world.base(
        "b",
        r#"{"os":"linux","architecture":"amd64","created":"2020-01-01T00:00:00Z","container":"x",
        "config":{"Cmd":["sh"],"Labels":{"a":"1"}},"history":[{"created":"2020-01-01T00:00:00Z","created_by":"ADD"}]}"#,
        &[&|tar| {
            add(tar, REG, "x", 0o644, 0, "");
        }],
    );
    let Base::Image(reference) = &base else { unreachable!() };
    let manifest = world.store.resolve(reference, &Platform::linux_amd64()).unwrap().unwrap();
    let layer = read_image(&world.store, &manifest).unwrap().0.layers[0].clone();
    let check = Healthcheck { test: vec!["CMD".into(), "true".into()], interval: 5, ..Healthcheck::default() };
    let changes = [
        ConfigChange::Env("A".into(), "b c".into()),
        ConfigChange::Label("b".into(), "2".into()),
        ConfigChange::User("app".into()),
        ConfigChange::Expose("80".into()),
        ConfigChange::Volume("/data".into()),
        ConfigChange::Entrypoint(vec!["/e".into()]),
        ConfigChange::Healthcheck(Some(check)),
        ConfigChange::StopSignal("SIGINT".into()),
        ConfigChange::Shell(vec!["/bin/bash".into(), "-c".into()]),
        ConfigChange::Author("me".into()),
    ];
    let built = world.build(base, changes.into_iter().map(Step::Config).collect()).unwrap();
    assert!(world.builder.layers.lock().unwrap().is_empty());
    assert_eq!(built.layers, [Descriptor { media_type: MEDIA_LAYER.into(), ..layer }]);
    let config = world.config(&built);
    assert_eq!(config.created.as_deref(), Some("1970-01-01T00:00:00Z"));
    assert_eq!((config.author.as_deref(), config.config.user.as_str()), (Some("me"), "app"));
    assert_eq!(config.config.labels.len(), 2);
    assert_eq!((config.config.cmd, config.config.entrypoint), (None, Some(vec!["/e".to_owned()])));
    let health = HealthConfig { test: vec!["CMD".into(), "true".into()], interval: 5, ..HealthConfig::default() };
    assert_eq!(config.config.healthcheck, Some(health));
    assert!(!config.other.contains_key("container"));
    assert_eq!(config.history.len(), 11);
    assert!(config.history[1..].iter().all(|h| h.empty_layer));
    assert_eq!(config.history[1].created_by.as_deref(), Some("ENV A=b c"));
}

#[test]
fn a_working_directory_is_made_for_the_user_of_the_image() {
    let world = world(&[]);
    let base = distribution(&world);
    let steps = vec![
        Step::Config(ConfigChange::Workdir("/tmp".into())),
        Step::Config(ConfigChange::User("app".into())),
        Step::Config(ConfigChange::Workdir("sub/deep".into())),
        Step::Config(ConfigChange::Workdir("/bin".into())),
    ];
    let built = world.build(base, steps).unwrap();
    assert_eq!(built.layers.len(), 3);
    let list = world.list(&built);
    assert!(
        list.contains(&"d 755 1000:1001 tmp/sub".to_owned())
            && list.contains(&"d 755 1000:1001 tmp/sub/deep".to_owned())
    );
    let config = world.config(&built);
    assert_eq!(config.config.working_dir, "/bin");
    assert_eq!(config.rootfs.diff_ids.len(), 3);
    assert_eq!(config.history.iter().filter(|h| !h.empty_layer).count(), 3);
}

#[test]
fn what_cannot_be_built_is_told() {
    let world = world(&[("f", Mode::File, "1"), (".wh.x", Mode::File, "")]);
    let run = Step::Run(RunStep::new("RUN make".into(), vec!["make".into()], true));
    let error = |base: Base, steps: Vec<Step>| world.build(base, steps).unwrap_err().to_string();
    assert_eq!(error(Base::Scratch, vec![run]), "native builder: `RUN make` needs a builder that runs commands");
    assert_eq!(error(Base::Image(external("nowhere:1")), Vec::new()), "image `nowhere:1` is not in the store");
    let arm = world.base("arm", r#"{"os":"linux","architecture":"arm64"}"#, &[]);
    assert!(error(arm, Vec::new()).contains("linux/arm64"));
    assert!(error(Base::Scratch, vec![Step::Copy(copy(vec![world.tree("", FilterSpec::All)], "/"))]).contains(".wh."));
    assert!(error(Base::Part(3), Vec::new()).contains("part 3"));
}

#[test]
fn stages_build_on_each_other_and_on_their_bytes() {
    let world = world(&[("a", Mode::File, "1"), ("d/b", Mode::Executable, "22")]);
    let step = |path: &str, to: &str| Step::Copy(copy(vec![world.tree(path, FilterSpec::All)], to));
    let built = world.build(Base::Scratch, vec![step("a", "/x/a"), step("d", "/x")]).unwrap();
    let digest = crate::digest::Sha224Digest::of_bytes(b"stage");
    world.store.publish(&digest, &built, &BTreeMap::new(), 1, &crate::ports::any).unwrap();
    let stage = || ImageRef::Stage { digest, created_ms: None, content: None };
    let source = || CopySource::Image { image: stage(), path: "/x".into(), filter: FilterSpec::All };
    let warm = world.build(Base::Image(stage()), vec![Step::Copy(copy(vec![source()], "/y"))]).unwrap();
    let cold = World { builder: NativeBuilder::default(), ..world };
    assert_eq!(cold.build(Base::Image(stage()), vec![Step::Copy(copy(vec![source()], "/y"))]).unwrap(), warm);
    assert_eq!(warm.layers.len(), 3);
    assert!(cold.list(&warm).contains(&"f 755 0:0 y/b 22".to_owned()));
}
