//go:build js && wasm

// Wasm is the verifier as it runs in the worker of the page: it takes the request
// that the worker's script left, answers it, and ends. Each request has a process of
// its own, so nothing of one is there in the next.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"syscall/js"

	"ledgerd/internal/page/answer"
)

func main() {
	r := js.Global().Get("request")
	text, err := json.Marshal(answer.Of(&answer.Request{
		Evidence: files(r.Get("evidence")),
		Trust:    files(r.Get("trust")),
		Contract: files(r.Get("contract")),
		Run:      r.Get("run").String(),
		Subject:  r.Get("subject").String(),
	}))
	if err != nil {
		panic(err)
	}
	js.Global().Call("answered", string(text))
}

// chunk is how much of a file is read at a time.
const chunk = 1 << 20

// files returns the browser's files, which are read as they are needed.
func files(list js.Value) []answer.File {
	out := make([]answer.File, list.Length())
	for i := range out {
		file := list.Index(i)
		out[i] = answer.File{
			Name: file.Get("name").String(),
			Open: func() io.Reader {
				return bufio.NewReaderSize(&reader{file: file, size: int64(file.Get("size").Float())}, chunk)
			},
		}
	}
	return out
}

// A reader reads a file of the browser's from its beginning.
type reader struct {
	file     js.Value
	at, size int64
}

func (r *reader) Read(b []byte) (n int, err error) {
	defer func() {
		if p := recover(); p != nil {
			e, ok := p.(js.Error) // such as that the file has changed on the disk
			if !ok {
				panic(p)
			}
			err = fmt.Errorf("could not be read: %w", e)
		}
	}()
	if r.at >= r.size {
		return 0, io.EOF
	}
	end := min(r.at+int64(len(b)), r.size)
	part := js.Global().Call("readPart", r.file, float64(r.at), float64(end))
	n = js.CopyBytesToGo(b, part)
	if int64(n) != end-r.at {
		return n, io.ErrUnexpectedEOF
	}
	r.at = end
	return n, nil
}
