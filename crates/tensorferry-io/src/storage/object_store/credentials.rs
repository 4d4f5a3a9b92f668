//! Credentials of profiles, which `object_store` does not read.
//!
//! # Rationale
//! Profiles, single sign-on and the files in `~/.aws` are what boto3 knows. A program that has it
//! can lend its knowledge: [`set_profile_credentials`].

use crate::sync::fork_safe::ForkSafe;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::{CredentialProvider, Result};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Credentials for S3.
#[derive(Clone)]
pub struct ProfileCredentials {
    /// Access key.
    pub key_id: String,
    /// Secret key.
    pub secret_key: String,
    /// Session token.
    pub token: Option<String>,
}

/// Returns the credentials of a profile, `None` for the default one; or `None` if there are none.
pub type FindCredentials =
    fn(profile: Option<&str>) -> std::result::Result<Option<ProfileCredentials>, String>;

static FIND: ForkSafe<Option<FindCredentials>> = ForkSafe::new(None);

/// Has credentials of profiles found by this function. It is called on any thread, at most once a
/// minute for a store.
pub fn set_profile_credentials(find: FindCredentials) {
    *FIND.lock() = Some(find);
}

/// How long credentials are used before they are asked for again. The giver renews them well
/// before they expire.
const FRESH: Duration = Duration::from_secs(60);

/// The builder, with the credentials of a profile if none are given otherwise.
pub(super) fn of_profile(builder: AmazonS3Builder, profile: Option<String>) -> AmazonS3Builder {
    let profile = profile.or_else(|| std::env::var("AWS_PROFILE").ok());
    let set = |key: AmazonS3ConfigKey| builder.get_config_value(&key).is_some();
    let given = set(AmazonS3ConfigKey::AccessKeyId)
        || builder.get_config_value(&AmazonS3ConfigKey::SkipSignature).is_some_and(|v| v == "true");
    // Web identities and roles of containers are object_store's own.
    let elsewhere = [
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ]
    .iter()
    .any(|name| std::env::var_os(name).is_some());
    let Some(find) = *FIND.lock() else { return builder };
    if given || (elsewhere && profile.is_none()) {
        return builder;
    }
    match find(profile.as_deref()) {
        Ok(None) if profile.is_none() => builder,
        _ => {
            builder.with_credentials(Arc::new(Profile { profile, find, kept: ForkSafe::new(None) }))
        }
    }
}

struct Profile {
    profile: Option<String>,
    find: FindCredentials,
    kept: ForkSafe<Option<(Instant, Arc<AwsCredential>)>>,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile").field("profile", &self.profile).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl CredentialProvider for Profile {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>> {
        if let Some((since, kept)) = &*self.kept.lock()
            && since.elapsed() < FRESH
        {
            return Ok(Arc::clone(kept));
        }
        let (find, profile) = (self.find, self.profile.clone());
        let refused = |text: String| object_store::Error::Unauthenticated {
            path: self.profile.clone().unwrap_or_else(|| "default".into()),
            source: text.into(),
        };
        let found = tokio::task::spawn_blocking(move || find(profile.as_deref())).await?;
        let found = found.map_err(&refused)?;
        let found = found.ok_or_else(|| refused("the profile has no credentials".into()))?;
        let made = Arc::new(AwsCredential {
            key_id: found.key_id,
            secret_key: found.secret_key,
            token: found.token,
        });
        *self.kept.lock() = Some((Instant::now(), Arc::clone(&made)));
        Ok(made)
    }
}
