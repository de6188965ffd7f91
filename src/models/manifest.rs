//! `models/manifest.toml` as types, embedded in the program.

use std::sync::OnceLock;

use serde::Deserialize;

use super::ModelError;

/// Every model of the embedded manifest.
///
/// # Panics
/// Never in a program whose tests pass: one of them reads the manifest.
#[must_use]
pub fn all() -> &'static [Model] {
    static MODELS: OnceLock<Vec<Model>> = OnceLock::new();
    MODELS
        .get_or_init(|| parse(include_str!("../../models/manifest.toml")).expect("a test reads the embedded manifest"))
}

fn parse(text: &str) -> Result<Vec<Model>, toml::de::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Manifest {
        model: Vec<Model>,
    }
    toml::from_str(text).map(|Manifest { model }| model)
}

/// One model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The name backends and people use.
    pub name: String,
    /// One line for people.
    pub about: String,
    /// SPDX expression of its licence.
    pub licence: String,
    /// What it needs of a machine, for people.
    pub requires: String,
    /// The package that carries it.
    pub package: String,
    /// The package's version.
    pub version: String,
    #[serde(rename = "wheel")]
    wheels: Vec<Wheel>,
    /// Members of every wheel of that package.
    #[serde(rename = "file", default)]
    files: Vec<File>,
}

/// A wheel that carries a model, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wheel {
    /// Its system, as Rust names it; any, where none is named.
    pub os: Option<String>,
    /// Its architecture, as Rust names it; any, where none is named.
    pub arch: Option<String>,
    /// Its package, where it is not the model's: a wheel that is needed beside that one.
    package: Option<String>,
    /// That package's version, where it is not the model's.
    version: Option<String>,
    /// Its file name.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    #[serde(rename = "file", default)]
    files: Vec<File>,
}

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The wheel's member it is.
    pub member: String,
    /// Its name in the model's folder.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
}

impl Wheel {
    fn suits(&self, os: &str, arch: &str) -> bool {
        let any_or = |named: &Option<String>, here| named.as_ref().is_none_or(|named| named == here);
        any_or(&self.os, os) && any_or(&self.arch, arch)
    }
}

impl Model {
    /// The wheels for this machine: at least one, and each is needed.
    ///
    /// # Errors
    /// [`ModelError::Platform`] when there is none.
    pub fn wheels(&self) -> Result<Vec<&Wheel>, ModelError> {
        self.wheels_for(std::env::consts::OS, std::env::consts::ARCH)
    }

    fn wheels_for(&self, os: &str, arch: &str) -> Result<Vec<&Wheel>, ModelError> {
        let wheels: Vec<_> = self.wheels.iter().filter(|wheel| wheel.suits(os, arch)).collect();
        if wheels.iter().any(|wheel| wheel.package.is_none()) {
            return Ok(wheels);
        }
        let any = || "any".to_owned();
        let named = |wheel: &Wheel| {
            format!("{} on {}", wheel.os.clone().unwrap_or_else(any), wheel.arch.clone().unwrap_or_else(any))
        };
        let systems: Vec<_> = self.wheels.iter().map(named).collect();
        Err(ModelError::Platform {
            name: self.name.clone(),
            here: format!("{os} on {arch}"),
            requires: format!("{} ({})", self.requires, systems.join(" or ")),
        })
    }

    /// The files that `wheel` brings.
    pub fn files<'a>(&'a self, wheel: &'a Wheel) -> impl Iterator<Item = &'a File> {
        let own = wheel.package.is_none().then_some(&self.files);
        own.into_iter().flatten().chain(&wheel.files)
    }

    /// Name of its folder in a store.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// Package and version of a wheel, as pip writes them.
    #[must_use]
    pub fn requirement(&self, wheel: &Wheel) -> String {
        let (package, version) = (wheel.package.as_ref(), wheel.version.as_ref());
        format!("{}=={}", package.unwrap_or(&self.package), version.unwrap_or(&self.version))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_embedded_manifest_is_whole() {
        let models = all();
        assert!(!models.is_empty());
        for model in models {
            assert!(!model.wheels.is_empty(), "{} has no wheel", model.name);
            for (os, arch) in [("linux", "x86_64"), ("linux", "aarch64")] {
                let wheels = model.wheels_for(os, arch).unwrap();
                let files: Vec<_> = wheels.iter().flat_map(|wheel| model.files(wheel)).collect();
                let names: HashSet<_> = files.iter().map(|file| &file.name).collect();
                assert_eq!(names.len(), files.len(), "two files of {} have one name", model.name);
            }
            for wheel in &model.wheels {
                let files: Vec<_> = model.files(wheel).collect();
                assert!(!files.is_empty(), "{} brings nothing", wheel.name);
                let names: HashSet<_> = files.iter().map(|file| &file.name).collect();
                let pins = files.iter().map(|file| (&file.sha256, file.size)).chain([(&wheel.sha256, wheel.size)]);
                for (sha256, size) in pins {
                    assert!(size > 0 && sha256.len() == 64, "{sha256}");
                    assert!(sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{sha256}");
                }
                // Names become paths.
                for name in names.into_iter().chain([&wheel.name]) {
                    assert!(!name.contains(['/', '\\']) && !name.starts_with('.'), "{name}");
                }
            }
        }
        let names: HashSet<_> = models.iter().map(|model| &model.name).collect();
        assert_eq!(names.len(), models.len());
    }

    #[test]
    fn the_manifest_names_no_registry() {
        assert!(!include_str!("../../models/manifest.toml").contains("://"));
    }

    #[test]
    fn the_wheel_is_chosen_by_system_and_architecture() {
        let model = &all()[0];
        for arch in ["x86_64", "aarch64"] {
            let wheels = model.wheels_for("linux", arch).unwrap();
            assert!(wheels.len() == 1 && wheels[0].name.ends_with(&format!("{arch}.whl")), "{wheels:?}");
        }
        let error = model.wheels_for("plan9", "mips").unwrap_err().to_string();
        for part in ["moonshine", "plan9 on mips", "linux on x86_64", "glibc 2.34"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_model_may_be_in_several_packages_and_for_any_machine() {
        let wheel = |extra: &str| {
            format!(
                "[[model.wheel]]\n{extra}name='w.whl'\nsize=1\nsha256=''\n[[model.wheel.file]]\nmember='m'\nname='n'\nsize=1\nsha256=''\n"
            )
        };
        let text = "[[model]]\nname='n'\nabout='a'\nlicence='l'\nrequires='r'\npackage='p'\nversion='1'\n".to_owned()
            + &wheel("")
            + &wheel("package='q'\nversion='2'\n")
            + &wheel("package='q'\nos='plan9'\n");
        let model = &parse(&text).unwrap()[0];
        let wanted =
            |os| model.wheels_for(os, "vax").unwrap().iter().map(|wheel| model.requirement(wheel)).collect::<Vec<_>>();
        assert_eq!(wanted("linux"), ["p==1", "q==2"]);
        assert_eq!(wanted("plan9"), ["p==1", "q==2", "q==1"]);
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        let good =
            "[[model]]\nname='n'\nabout='a'\nlicence='l'\nrequires='r'\npackage='p'\nversion='1'\nwheel=[]\nfile=[]\n";
        assert_eq!(parse(good).unwrap().len(), 1);
        assert!(parse(&good.replace("licence", "license")).unwrap_err().to_string().contains("license"));
    }
}
