use super::*;
use crate::storage::url::Place;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;

fn url(text: &str) -> Url {
    match Place::of(text.as_ref()).unwrap() {
        Place::Remote(url) => url,
        Place::Local(path) => panic!("{path:?}"),
    }
}

/// An upload to `s3://b/k` in memory, with parts of `size` bytes.
fn upload(memory: &Arc<InMemory>, size: usize, replace: bool) -> Upload {
    let object = Object::in_memory(memory, &url("s3://b/k"), replace);
    Upload::of(object, size, &CancelToken::default()).unwrap()
}

fn found(memory: &Arc<InMemory>) -> Option<Vec<u8>> {
    let get = async {
        match memory.get(&"k".into()).await {
            Ok(found) => Ok(Some(found.bytes().await.unwrap().to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => panic!("{error}"),
        }
    };
    run(&CancelToken::default(), get).unwrap()
}

#[test]
fn an_object_is_what_was_written_whatever_the_sizes() {
    let given: Vec<u8> = (0..1000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    for len in [0, 1, 9, 10, 11, 20, 21, 999] {
        for (size, chunk) in [(10, 1), (10, 7), (10, 300), (1, 13), (1000, 400), (100, 100)] {
            for patched in [false, true] {
                let memory = Arc::new(InMemory::new());
                let mut upload = upload(&memory, size, false);
                let mut expected = given[..len].to_vec();
                if patched {
                    upload = upload.first_last();
                }
                for bytes in given[..len].chunks(chunk) {
                    upload.write_all(bytes).unwrap();
                }
                if patched && len > 0 {
                    upload.rewrite_start(&[255]);
                    expected[0] = 255;
                }
                assert_eq!(found(&memory), None, "nothing is there before the end");
                upload.finish().unwrap();
                assert!(found(&memory).unwrap() == expected, "{len} bytes in parts of {size}");
            }
        }
    }
}

#[test]
fn an_object_that_exists_is_replaced_only_if_asked() {
    for bytes in [5, 50] {
        let memory = Arc::new(InMemory::new());
        let write = |fill: u8, replace: bool| {
            let mut upload = upload(&memory, 10, replace);
            upload.write_all(&vec![fill; bytes]).and_then(|()| upload.flush()).map_err(|_| {
                let failure = upload.failure();
                failure.unwrap()
            })?;
            upload.finish()
        };
        write(1, false).unwrap();
        let error = write(2, false).unwrap_err();
        assert_eq!(error.system().unwrap().kind(), io::ErrorKind::AlreadyExists);
        assert!(error.to_string().contains("s3://b/k: write: it already exists. To"), "{error}");
        assert_eq!(found(&memory).unwrap(), vec![1; bytes]);
        write(3, true).unwrap();
        assert_eq!(found(&memory).unwrap(), vec![3; bytes]);
    }
}

#[test]
fn one_that_appears_during_an_upload_is_not_replaced() {
    let memory = Arc::new(InMemory::new());
    let mut upload = upload(&memory, 10, false);
    upload.write_all(&[1; 50]).unwrap();
    let other = async { Ok(memory.put(&"k".into(), "other".into()).await.unwrap()) };
    run(&CancelToken::default(), other).unwrap();
    let error = upload.finish().unwrap_err();
    assert_eq!(error.system().unwrap().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(found(&memory).unwrap(), b"other");
}

#[test]
fn what_is_dropped_or_interrupted_does_not_appear() {
    let memory = Arc::new(InMemory::new());
    let mut dropped = upload(&memory, 10, false);
    dropped.write_all(&[1; 50]).unwrap();
    drop(dropped);
    assert_eq!(found(&memory), None);
    let mut interrupted = upload(&memory, 10, false);
    interrupted.write_all(&[1; 50]).unwrap();
    interrupted.cancel.cancel();
    assert!(interrupted.write(&[1]).is_err());
    assert!(matches!(interrupted.finish(), Err(Error::Interrupted)));
    let mut failed = upload(&memory, 10, false);
    failed.write_all(&[1; 50]).unwrap();
    failed.cancel.pause();
    assert!(failed.write(&[1]).is_err());
    failed.cancel.resume();
    assert!(matches!(failed.finish(), Err(Error::Interrupted)));
    assert_eq!(found(&memory), None);
}

#[test]
fn parts_are_few_enough_for_every_store() {
    assert_eq!(size_for(0), PART);
    assert_eq!(size_for(PARTS as u64 * PART as u64), PART);
    let large = 5 << 40;
    assert!(
        size_for(large) as u64 * PARTS as u64 >= large && size_for(large).is_multiple_of(1 << 20)
    );
    // If nothing was known of the length, the last thousand parts hold more than 400 GiB.
    let more: u64 = (PARTS..10_000).map(|at| size_of(PART, at) as u64).sum();
    assert!(size_of(PART, PARTS - 1) == PART && more > 400 << 30);
}

#[test]
fn a_web_server_is_not_written_to() {
    let url = url("http://localhost/a.npy");
    let error =
        Upload::new(&url, &StorageOptions::default(), true, 0, &CancelToken::default()).err();
    assert!(error.unwrap().to_string().contains("not written to"));
}
