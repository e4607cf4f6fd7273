use super::*;

const LIMIT: usize = 4_096;

/// Each answer's tokens as text.
fn read(buffer: &mut Buffer, bytes: &[u8]) -> Result<Vec<String>, Bad> {
    let mut found = Vec::new();
    buffer.feed(bytes, |answer| {
        found.push(format!("{:?}", answer.collect::<Vec<_>>()));
        Ok::<_, Bad>(())
    })?;
    Ok(found)
}

const ALL: &[u8] =
    b"+OK\r\n:-7\r\n$-1\r\n*-1\r\n*0\r\n$0\r\n\r\n-ERR no\r\n*2\r\n*1\r\n$2\r\n\r\n\r\n:1\r\n";

#[test]
fn whole_answers_in_whatever_pieces_they_come() {
    let whole = read(&mut Buffer::new(LIMIT), ALL).unwrap();
    assert_eq!(whole.len(), 8);
    assert_eq!(whole[0], format!("{:?}", [Token::Bytes(b"OK")]));
    assert_eq!(
        whole[7],
        format!(
            "{:?}",
            [
                Token::Array(2),
                Token::Array(1),
                Token::Bytes(b"\r\n"),
                Token::Number(1)
            ]
        )
    );
    for size in 1..ALL.len() {
        let mut buffer = Buffer::new(LIMIT);
        let pieces = ALL
            .chunks(size)
            .map(|piece| read(&mut buffer, piece).unwrap());
        assert_eq!(pieces.flatten().collect::<Vec<_>>(), whole, "{size}");
        assert_eq!(
            (buffer.bytes.len(), buffer.at, buffer.open.len()),
            (0, 0, 0)
        );
    }
}

#[test]
fn what_is_too_large_is_refused_before_it_is_there() {
    for bytes in [&b"$4097\r\n"[..], b"*4097\r\n", b"$99999999999\r\n"] {
        assert_eq!(read(&mut Buffer::new(LIMIT), bytes), Err(Bad::TooLarge));
    }
    let mut buffer = Buffer::new(LIMIT);
    read(&mut buffer, b"*4096\r\n").unwrap();
    let refused = (0..LIMIT).find_map(|_| read(&mut buffer, b"$0\r\n\r\n").err());
    assert_eq!(refused, Some(Bad::TooLarge));
    assert!(buffer.bytes.len() < LIMIT + 100);
    let half = [
        b"*2\r\n$3000\r\n".to_vec(),
        vec![b'x'; 3_000],
        b"\r\n$3000\r\n".to_vec(),
    ]
    .concat();
    let mut buffer = Buffer::new(LIMIT);
    read(&mut buffer, &half).unwrap();
    assert_eq!(read(&mut buffer, &[b'x'; 2_000]), Err(Bad::TooLarge));
}

#[test]
fn what_is_no_answer_is_refused() {
    let deep = b"*1\r\n".repeat(9);
    let long = [b"+".to_vec(), vec![b'x'; LONGEST_LINE]].concat();
    for bytes in [
        &b"x\r\n"[..],
        b":a\r\n",
        b"$-2\r\n",
        b"*-2\r\n",
        b"$1\r\nabc",
        b"+a\n",
        b"\r\n",
        &deep,
        &long,
    ] {
        assert_eq!(
            read(&mut Buffer::new(1 << 20), bytes),
            Err(Bad::Malformed),
            "{bytes:?}"
        );
    }
}

#[test]
fn memory_of_a_large_answer_is_given_back() {
    let mut buffer = Buffer::new(8 << 20);
    let large = [
        format!("${}\r\n", 4 << 20).into_bytes(),
        vec![0; 4 << 20],
        b"\r\n".to_vec(),
    ]
    .concat();
    assert_eq!(read(&mut buffer, &large).unwrap().len(), 1);
    assert!(buffer.bytes.capacity() <= 2 * KEPT);
}
