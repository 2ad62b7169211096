#!/bin/sh
# A bot that answers "!uptime". It handles one event, which comes as JSON on standard input:
#
#     chatctl watch --consumer bot --type message.received --exec ./bot.sh
#
# An event that fails is tried again, and one that was interrupted, too. So the answer has an id that follows from the
# question's: sent twice, it is one message. Needs jq.
set -eu

event=$(cat)
field() { printf '%s' "$event" | jq -r "$1"; }

case $(field .message.body) in
'!uptime'*) ;;
*) exit 0 ;;
esac

question=$(field .message.id)
answer=${question%-*}-$(printf '%s' "${question##*-}" | tr '0123456789abcdef' '123456789abcdef0')
uptime | chatctl send "id:$(field .peer)" --reply-to "$question" --id "$answer"
